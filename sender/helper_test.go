package sender_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// text is a mail that is written as it stands.
type text string

func (t text) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(t))
	return int64(n), err
}

func letter(to ...string) *sender.Message {
	return &sender.Message{ID: to[0], From: "news@sender.example", To: to, Content: text(
		"From: News <news@sender.example>\r\nTo: <" + to[0] + ">\r\nSubject: Hello\r\n\r\nHello " + to[0] + "\r\n")}
}

// letters makes n messages to each domain, spread as in a real list.
func letters(n int, domains ...string) []*sender.Message {
	var out []*sender.Message
	for i := range n {
		for _, d := range domains {
			out = append(out, letter(fmt.Sprintf("user%d@%s", i, d)))
		}
	}
	return out
}

// fast is a policy that holds nothing back.
func fast(throttle.Key) throttle.Limits {
	return throttle.Limits{Rates: []throttle.Rate{{N: 1000000, Per: time.Second}}, Burst: 1, Conns: 10, Messages: 1000, Idle: time.Second}
}

// config is one that sends into the sandbox.
func config(sb *sendertest.Sandbox) sender.Config {
	return sender.Config{Hostname: "mail.sender.example", Resolver: sb.Resolver(), Dial: sb.Dial, Policy: throttle.PolicyFunc(fast)}
}

func start(t testing.TB, cfg sender.Config) *sender.Sender {
	t.Helper()
	s, err := sender.New(cfg)
	require.NoError(t, err)
	return s
}

func shutdown(t testing.TB, s *sender.Sender) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	require.NoError(t, s.Shutdown(ctx))
}

func collect(seq iter.Seq[sender.Result]) []sender.Result { return slices.Collect(seq) }

// requireOnce checks that each recipient of each message has exactly one
// result, and that Err is set exactly when it was not sent.
func requireOnce(t testing.TB, msgs []*sender.Message, results []sender.Result) {
	t.Helper()
	type key struct {
		m  *sender.Message
		to string
	}
	want := map[key]int{}
	for _, m := range msgs {
		for _, to := range m.To {
			want[key{m, to}]++
		}
	}
	for _, r := range results {
		want[key{r.Message, r.Recipient}]--
		require.Equal(t, r.Outcome == sender.Sent, r.Err == nil, "%+v", r)
	}
	for k, n := range want {
		require.Zero(t, n, "results missing (or too many if negative) for %s", k.to)
	}
}

func count(results []sender.Result) map[sender.Outcome]int {
	n := map[sender.Outcome]int{}
	for _, r := range results {
		n[r.Outcome]++
	}
	return n
}

// requireDelivered checks that the sandbox has exactly the messages whose
// results say so, each once.
func requireDelivered(t testing.TB, sb *sendertest.Sandbox, results []sender.Result) {
	t.Helper()
	got := map[string]int{}
	for _, m := range sb.Messages() {
		for _, to := range m.Rcpts {
			got[to]++
		}
	}
	for _, r := range results {
		if r.Outcome == sender.Sent {
			require.Equal(t, 1, got[r.Recipient], "deliveries of %s", r.Recipient)
		} else if r.Outcome != sender.Unknown {
			require.Zero(t, got[r.Recipient], "%s is %v and was delivered", r.Recipient, r.Outcome)
		}
	}
}

func requireClean(t testing.TB, hosts ...*sendertest.Host) {
	t.Helper()
	for _, h := range hosts {
		require.Empty(t, h.Stats().Violations, h.Name())
	}
}

func field(mail, name string) string {
	for line := range strings.Lines(mail) {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// silent is a script of a server that says nothing any more at a stage.
func silent(at sendertest.Stage) func(sendertest.Stage, string) io.Reader {
	return func(st sendertest.Stage, _ string) io.Reader {
		if st == at {
			return hang{}
		}
		return nil
	}
}

// hang never gives a byte, for a year.
type hang struct{}

func (hang) Read([]byte) (int, error) {
	time.Sleep(365 * 24 * time.Hour)
	return 0, io.EOF
}

type panicking struct{}

func (panicking) WriteTo(io.Writer) (int64, error) { panic("oh!") }
