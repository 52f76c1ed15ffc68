package spool

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

// The campaign that processes are killed in. What each message is, and how the
// servers treat each recipient, follows from its number alone, so that every
// process and the checks at the end know it.

const (
	killCutDomain = "cut.example" // whose server breaks connections off
	killConns     = 12            // Config.MaxConns
)

var killDomains = []string{"a.example", "b.example", "c.example", killCutDomain}

// killKinds is what can become of a recipient, the first part of the address.
var killKinds = []struct {
	name string
	part float64
}{
	{"bad", 0.03},     // refused at RCPT
	{"late", 0.06},    // put off at RCPT twice
	{"never", 0.02},   // put off at RCPT each time
	{"dotbad", 0.02},  // refused at the end of the message
	{"dotlate", 0.04}, // put off there once
	{"malformed", 0.01},
	{"ok", 1},
}

func killKind(luck float64) string {
	for _, k := range killKinds {
		if luck -= k.part; luck < 0 {
			return k.name
		}
	}
	return "ok"
}

func killCampaign(i int) string { return fmt.Sprintf("c%d", i/100) }

// killSure reports whether the message is of the stream whose unknown fates are
// tried again.
func killSure(i int) bool { return i%3 == 0 }

// killMessage is the ith message. pad makes the bodies that are not shared so
// much larger.
func killMessage(i, pad int) *sender.Message {
	luck := rand.New(rand.NewPCG(uint64(i), 5))
	m := &sender.Message{ID: strconv.Itoa(i), Stream: "news", Campaign: killCampaign(i), From: "bounces@sender.example", Tags: map[string]string{"n": strconv.Itoa(i)}}
	if killSure(i) {
		m.Stream = "sure"
	}
	n := 1
	if luck.IntN(4) == 0 {
		n += luck.IntN(5)
	}
	for k := range n {
		kind := killKind(luck.Float64())
		if n > 1 && strings.HasPrefix(kind, "dot") { // a reply to the message is for all its recipients
			kind = "ok"
		}
		to := fmt.Sprintf("%s-%d-%d", kind, i, k)
		if kind != "malformed" {
			to += "@" + killDomains[luck.IntN(len(killDomains))]
		}
		m.To = append(m.To, to)
	}
	if local, domain, ok := strings.Cut(m.To[0], "@"); ok && luck.IntN(10) == 0 {
		m.To = append(m.To, local+"@"+strings.ToUpper(domain)) // the same recipient
	}
	switch i / 7 % 3 {
	case 0:
		m.Template, m.Data = "letter", map[string]any{"n": i}
	case 1:
		m.Content = killText(strconv.Itoa(i), pad)
	default:
		m.Content = killText(killShared(i), 0)
	}
	return m
}

// killShared is the key of a body that many messages share.
func killShared(i int) string { return fmt.Sprintf("shared-%d", i/100) }

type killBody string

func (b killBody) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(b))
	return int64(n), err
}

const killLetter = "From: News <news@sender.example>\r\nSubject: Hello\r\nX-Key: %s\r\n\r\nHello\r\n"

func killText(key string, pad int) killBody {
	return killBody(fmt.Sprintf(killLetter, key) + strings.Repeat(strings.Repeat("x", 70)+"\r\n", pad/72))
}

// killRecipient names a delivery: the message's number and the recipient, with
// the domain in lower case.
func killRecipient(to string) string {
	local, domain, ok := strings.Cut(to, "@")
	if !ok {
		return to
	}
	return local + "@" + strings.ToLower(domain)
}

// killRecipients are the deliveries of a message.
func killRecipients(i int) []string {
	var all []string
	for _, to := range killMessage(i, 0).To {
		if to = killRecipient(to); !slices.Contains(all, to) {
			all = append(all, to)
		}
	}
	return all
}

// killParse takes a recipient apart.
func killParse(to string) (kind string, i int, domain string) {
	local, domain, _ := strings.Cut(to, "@")
	parts := strings.Split(local, "-")
	if len(parts) == 3 {
		kind = parts[0]
		i, _ = strconv.Atoi(parts[1])
	}
	return kind, i, strings.ToLower(domain)
}

// killConfig is how each process sends. Second retries go back to the queue.
func killConfig(relays map[string]string) sender.Config {
	const short, long = 10 * time.Millisecond, 90 * time.Second
	cfg := sender.Config{
		Hostname:  "mail.sender.example",
		Streams:   map[string]sender.Stream{"news": {}, "sure": {RetryUnknown: true}},
		Templates: map[string]sender.Template{"letter": template.Must(template.New("").Parse(fmt.Sprintf(killLetter, "{{.n}}")))},
		Policy: throttle.PolicyFunc(func(throttle.Key) throttle.Limits {
			return throttle.Limits{Rates: []throttle.Rate{{N: 1000000, Per: time.Second}}, Burst: 1, Conns: 4, Messages: 1000, Idle: time.Second}
		}),
		Retry:    sender.Retry{Schedule: []time.Duration{short, long, short, short, short, short}, MaxAttempts: 6},
		Breaker:  sender.Breaker{HardBounces: 1, Blocks: 1},
		MaxConns: killConns,
	}
	for domain, addr := range relays {
		cfg.Routes = append(cfg.Routes, sender.Route{Domain: domain, Relay: addr, TLS: sender.TLSNone})
	}
	return cfg
}

// killServer receives the campaign and counts.
type killServer struct {
	sandbox *sendertest.Sandbox
	relays  map[string]string // address by domain

	mu      sync.Mutex
	tries   map[string]int        // of recipients that are put off; guarded by mu
	faults  []string              // guarded by mu
	trigger func(what killMoment) // guarded by mu
}

func startKillServer(t *testing.T) *killServer {
	s := &killServer{sandbox: sendertest.Start(t, sendertest.Options{KeepBodies: -1, Seed: 7}), relays: map[string]string{}, tries: map[string]int{}}
	for _, domain := range killDomains {
		b := sendertest.Behavior{Latency: 5 * time.Millisecond, Recipient: s.recipient, Message: s.message}
		if domain == killCutDomain {
			b.Drops = []sendertest.Drop{{At: sendertest.StageMail, P: 0.02}, {At: sendertest.StageBody, P: 0.02}, {At: sendertest.StageDot, P: 0.05}}
		}
		var err error
		s.relays[domain], err = s.sandbox.AddHost("mx."+domain, b).Listen()
		require.NoError(t, err)
	}
	return s
}

// at sets what is called at each RCPT and each complete message.
func (s *killServer) at(trigger func(killMoment)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trigger = trigger
}

// again puts a recipient off n times.
func (s *killServer) again(to string, n int) *sendertest.Reply {
	if s.tries[to]++; s.tries[to] <= n {
		return sendertest.Answer("450 4.2.0 Mailbox busy, try again later")
	}
	return nil
}

func (s *killServer) recipient(to string) *sendertest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trigger != nil {
		s.trigger(killAtRecipient)
	}
	switch kind, _, _ := killParse(to); kind {
	case "bad":
		return sendertest.Answer("550 5.1.1 No such user")
	case "late":
		return s.again(to, 2)
	case "never":
		return s.again(to, 1<<30)
	}
	return nil
}

func (s *killServer) message(m *sendertest.Message) *sendertest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trigger != nil {
		s.trigger(killAtMessage)
	}
	kind, n, _ := killParse(m.Rcpts[0])
	for _, to := range m.Rcpts {
		if _, i, _ := killParse(to); i != n {
			s.faults = append(s.faults, fmt.Sprintf("a mail of message %d for %s", n, to))
		}
	}
	if !bytes.Contains(m.Data, []byte("X-Key: "+strconv.Itoa(n)+"\r\n")) && !bytes.Contains(m.Data, []byte("X-Key: "+killShared(n)+"\r\n")) {
		s.faults = append(s.faults, fmt.Sprintf("%s got the mail of another: %.200q", m.Rcpts[0], m.Data))
	}
	switch kind {
	case "dotbad":
		return sendertest.Answer("550 5.1.1 No such user")
	case "dotlate":
		return s.again(m.Rcpts[0], 1)
	}
	return nil
}

// close ends the server and returns how often it took over the mail of each
// recipient, and how often it did so without saying it.
func (s *killServer) close(t *testing.T) (accepted, unsaid map[string]int) {
	require.NoError(t, s.sandbox.Close())
	for _, domain := range killDomains {
		require.Empty(t, s.sandbox.Host("mx."+domain).Stats().Violations)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Empty(t, s.faults)
	accepted, unsaid = map[string]int{}, map[string]int{}
	for _, m := range s.sandbox.Messages() {
		for _, to := range m.Rcpts {
			accepted[to]++
			if m.Dropped {
				unsaid[to]++
			}
		}
	}
	return accepted, unsaid
}
