package sender

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/internal/smtp"
	"github.com/volleymail/volley/mx"
)

type fakeResolver struct{}

func (fakeResolver) Lookup(_ context.Context, d string) (*mx.Route, error) {
	return &mx.Route{Domain: d, Site: "mx." + d, Expires: time.Now().Add(time.Hour),
		Hosts: []mx.Host{{Name: "mx." + d, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}}, nil
}

func msg(to string) *Message {
	return &Message{From: "a@s.example", To: []string{to}, Content: rawMail("From: a@s.example\r\n\r\nx\r\n")}
}

func TestSnapshotAlarms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Hostname: "a.s.example", Resolver: fakeResolver{}}
		cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return nil, errors.New("refused") }
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan bool)
		go func() {
			for range s.Send(ctx, func(yield func(*Message) bool) {
				for i := range 100 {
					yield(msg(fmt.Sprintf("u@d%d.example", i)))
				}
			}) {
			}
			done <- true
		}()
		time.Sleep(time.Minute)
		for range 1000 {
			s.Snapshot()
			time.Sleep(100 * time.Millisecond)
		}
		cancel()
		<-done
		s.Shutdown(context.Background())
		require.Less(t, len(s.sched.alarms), 1000)
	})
}

// A connection that is ready and has not asked for mail yet is counted on, however
// long its goroutine takes: no other is opened for a message that it will take.
func TestReadyConnectionIsCountedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Hostname: "a.s.example", Resolver: fakeResolver{}, Sources: []Source{{Name: "1"}, {Name: "2"}}})
		require.NoError(t, err)
		rt, err := fakeResolver{}.Lookup(t.Context(), "d.example")
		require.NoError(t, err)
		dom := &domain{name: rt.Domain, route: s.cfg.routeOf(rt.Domain)}
		dom.servers.Store(rt)
		st := newSite(s, rt.Site, dom, rt)
		now := time.Now()
		it := &item{msg: msg("u@d.example"), run: newRun(s, t.Context()), domain: dom, born: now.UnixNano()}
		st.backlog.add(it)
		d := st.dests[0]
		c := newSession(d)
		c.set = rt.Site
		d.sessions, d.opening = []*session{c}, 1
		st.handle(&siteMsg{kind: siteOpened, session: c, open: &smtp.Session{}})
		st.pump(now)
		require.Zero(t, st.dests[0].wanted+st.dests[1].wanted)
		require.Nil(t, st.backlog.wanting(d.source.Name, d.underWay(), now))
		st.handle(&siteMsg{kind: siteAsk, session: c})
		require.Equal(t, []*item{it}, (<-c.reply).items)
		require.Zero(t, st.pending())
		require.NoError(t, s.Shutdown(t.Context()))
	})
}
