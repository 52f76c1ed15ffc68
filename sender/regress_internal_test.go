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
