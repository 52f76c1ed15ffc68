//go:build unix

package bench

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/internal/bench/msg"
	"github.com/volleymail/volley/mx"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

// ownSites is a Resolver by which each domain is a site of its own, at one host.
type ownSites struct{ addr netip.Addr }

func (r ownSites) Lookup(_ context.Context, domain string) (*mx.Route, error) {
	return &mx.Route{
		Domain:  domain,
		Site:    "mx." + domain,
		Hosts:   []mx.Host{{Name: "mx." + domain, Addrs: []netip.Addr{r.addr}}},
		Expires: time.Now().Add(time.Hour),
	}, nil
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDomains is what each distinct domain costs in a campaign of one
// message for each: processor time, the receiving host's included, and memory
// that is still held when the campaign is over, since limits are remembered.
func BenchmarkDomains(b *testing.B) {
	for _, full := range []int{10_000, 30_000, 100_000} {
		b.Run(fmt.Sprint(full), func(b *testing.B) {
			n := scale(full)
			for range b.N {
				sb := sendertest.Start(b, sendertest.Options{Memory: true, CountOnly: true})
				h := sb.AddHost("mx.example", sendertest.Behavior{Without: sendertest.StartTLS})
				quick, err := throttle.LoadProfiles(strings.NewReader("version = \"1\"\n[default]\nidle = \"1s\"\n"))
				require.NoError(b, err)
				s, err := sender.New(sender.Config{Hostname: "sender.example", Resolver: ownSites{h.Addr()}, Dial: sb.Dial, Policy: throttle.Profiles(quick)})
				require.NoError(b, err)
				before, used := inUse(), cpu()
				sent := 0
				for r := range s.Send(context.Background(), func(yield func(*sender.Message) bool) {
					for i := range n {
						if !yield(&sender.Message{From: msg.From, To: []string{fmt.Sprintf("user@d%d.example", i)}, Content: msg.Message(i)}) {
							return
						}
					}
				}) {
					require.NoError(b, r.Err)
					sent++
				}
				used = cpu() - used
				require.Equal(b, n, sent)
				until(b, "the connections to close", func() bool { return h.Stats().Conns == 0 })
				held := inUse() - before
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(held/float64(n), "B/domain")
				b.ReportMetric(float64(used.Microseconds())/float64(n), "cpu-µs/domain")
				shutdown(b, s)
				runtime.KeepAlive(sb)
			}
		})
	}
}
