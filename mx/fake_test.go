package mx

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// zone is a DNS in memory: records in master file form, and replies that go
// wrong. It answers as a recursive server does.
type zone struct {
	mu     sync.Mutex
	rrs    []dns.RR       // guarded by mu
	rcodes map[string]int // "name." or "name. TYPE" -> RCODE; guarded by mu
	asked  map[string]int // "name. TYPE" -> number of questions; guarded by mu
	delay  time.Duration  // before each reply; guarded by mu
}

func newZone(t testing.TB, records string) *zone {
	z := &zone{rcodes: map[string]int{}, asked: map[string]int{}}
	z.set(t, records)
	return z
}

// set replaces the records.
func (z *zone) set(t testing.TB, records string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.rrs = nil
	p := dns.NewZoneParser(strings.NewReader("$TTL 3600\n$ORIGIN .\n"+records+"\n"), "", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		z.rrs = append(z.rrs, rr)
	}
	require.NoError(t, p.Err())
}

// fail sets the RCODE for a name ("a.example.") or a question ("a.example. MX");
// NOERROR mends it.
func (z *zone) fail(question string, rcode int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.rcodes[question] = rcode
}

// count returns how often a question ("a.example. MX") was asked.
func (z *zone) count(question string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked[question]
}

// total returns the number of questions asked.
func (z *zone) total() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	n := 0
	for _, c := range z.asked {
		n += c
	}
	return n
}

func (z *zone) setDelay(d time.Duration) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.delay = d
}

func (z *zone) exchange(ctx context.Context, _, _ string, q *dns.Msg) (*dns.Msg, error) {
	z.mu.Lock()
	delay := z.delay
	z.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return z.reply(q), nil
}

func (z *zone) reply(q *dns.Msg) *dns.Msg {
	z.mu.Lock()
	defer z.mu.Unlock()
	name, qtype := q.Question[0].Name, q.Question[0].Qtype
	question := strings.ToLower(name) + " " + dns.TypeToString[qtype]
	z.asked[question]++
	r := new(dns.Msg).SetReply(q)
	r.RecursionAvailable = true
	if rcode := max(z.rcodes[strings.ToLower(name)], z.rcodes[question]); rcode != 0 {
		r.Rcode = rcode
		return r
	}
	exists := false
	for range 32 {
		var alias string
		exists = false
		for _, rr := range z.rrs {
			if !strings.EqualFold(rr.Header().Name, name) {
				continue
			}
			exists = true
			if rr.Header().Rrtype == qtype {
				r.Answer = append(r.Answer, rr)
			} else if c, ok := rr.(*dns.CNAME); ok {
				r.Answer = append(r.Answer, rr)
				alias = c.Target
			}
		}
		if alias == "" {
			break
		}
		name = alias
	}
	if !exists {
		r.Rcode = dns.RcodeNameError
	}
	for _, rr := range z.rrs { // the SOA of a negative answer
		if _, ok := rr.(*dns.SOA); ok && dns.IsSubDomain(rr.Header().Name, name) {
			r.Ns = append(r.Ns, rr)
		}
	}
	return r
}

// resolver returns a DNS that asks the zone. cfg may be nil.
func (z *zone) resolver(t testing.TB, cfg *Config) *DNS {
	if cfg == nil {
		cfg = &Config{}
	}
	if cfg.Servers == nil {
		cfg.Servers = []string{"192.0.2.53"}
	}
	if cfg.Exchange == nil {
		cfg.Exchange = z.exchange
	}
	d, err := New(*cfg)
	require.NoError(t, err)
	return d
}

// hostNames returns the hosts of r in order.
func hostNames(r *Route) []string {
	names := make([]string, len(r.Hosts))
	for i, h := range r.Hosts {
		names[i] = h.Name
	}
	return names
}

func addrs(list ...string) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, s := range list {
		out[i] = netip.MustParseAddr(s)
	}
	return out
}

// requireFailure checks that err is an *Error with the failure, and returns it.
func requireFailure(t testing.TB, err error, f Failure) *Error {
	t.Helper()
	require.Error(t, err)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, f, e.Failure, "%v", err)
	require.Equal(t, f == Temporary, e.Temporary())
	return e
}
