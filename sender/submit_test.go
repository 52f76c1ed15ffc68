package sender_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

// ends collects n results and acknowledges them.
func ends(t testing.TB, s *sender.Sender, n int) map[string]sender.Result {
	t.Helper()
	got := map[string]sender.Result{}
	ctx, cancel := context.WithTimeout(context.Background(), 30*24*time.Hour)
	defer cancel()
	if n == 0 {
		return got
	}
	for r := range s.Results(ctx) {
		key := r.Message.ID + " " + r.Recipient
		if _, twice := got[key]; twice {
			require.Fail(t, "a result came twice", key)
		}
		got[key] = r
		s.Ack(r)
		if len(got) == n {
			break
		}
	}
	require.Len(t, got, n)
	return got
}

func queueConfig(sb *sendertest.Sandbox, q sender.Queue) sender.Config {
	cfg := config(sb)
	cfg.Queue = q
	return cfg
}

func TestSubmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		for _, d := range []string{"a.example", "b.example"} {
			sb.AddHost("mx."+d, sendertest.Behavior{Latency: 10 * time.Millisecond})
			sb.AddDomain(d, "mx."+d)
		}
		q := sendertest.NewQueue()
		s := start(t, queueConfig(sb, q))
		msgs := letters(500, "a.example", "b.example")
		require.NoError(t, s.Submit(context.Background(), msgs...))
		require.NoError(t, s.Submit(context.Background(), msgs[:300]...), "again")
		got := ends(t, s, 1000)
		for _, m := range msgs {
			r := got[m.ID+" "+m.To[0]]
			require.Equal(t, sender.Sent, r.Outcome)
			require.NoError(t, r.Err)
			require.Equal(t, 1, r.Attempts)
		}
		require.NoError(t, s.Submit(context.Background(), msgs...), "when all have ended")
		time.Sleep(time.Minute)
		shutdown(t, s)
		require.Len(t, sb.Messages(), 1000)
		left, err := q.Results(context.Background(), 0, 10)
		require.NoError(t, err)
		require.Empty(t, left, "all were acknowledged")
		require.Empty(t, q.Violations())
	})
}

func TestSubmitErrors(t *testing.T) {
	sb := sendertest.Start(t, sendertest.Options{Memory: true})
	q := sendertest.NewQueue()
	cfg := queueConfig(sb, q)
	cfg.Templates = map[string]sender.Template{"known": template.Must(template.New("").Parse("x"))}
	s := start(t, cfg)
	defer shutdown(t, s)
	ok := letter("a@a.example")
	for name, tc := range map[string]struct {
		change func(*sender.Message)
		want   string
	}{
		"no ID":            {func(m *sender.Message) { m.ID = "" }, "Message.ID is empty"},
		"no recipient":     {func(m *sender.Message) { m.To = nil }, "Message.To is empty"},
		"no content":       {func(m *sender.Message) { m.Content = nil }, "Message.Content is nil"},
		"both":             {func(m *sender.Message) { m.Template = "known" }, "both set"},
		"unknown template": {func(m *sender.Message) { m.Content, m.Template = nil, "other" }, `"other" is not in Config.Templates`},
		"unknown stream":   {func(m *sender.Message) { m.Stream = "other" }, `"other" is not in Config.Streams`},
		"bad data": {func(m *sender.Message) { m.Content, m.Template, m.Data = nil, "known", func() {} },
			"Message.Data: json"},
		"empty content": {func(m *sender.Message) { m.Content = text("") }, "wrote nothing"},
		"panic":         {func(m *sender.Message) { m.Content = panics{} }, "panic"},
	} {
		t.Run(name, func(t *testing.T) {
			m := letter("b@a.example")
			tc.change(m)
			err := s.Submit(context.Background(), ok, m)
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, err, "msgs[1]")
		})
	}
	require.ErrorContains(t, s.Submit(context.Background(), nil), "msgs[0]")
	queued, err := s.Queued(context.Background(), sender.Selection{}, 0, 0)
	require.NoError(t, err)
	require.Empty(t, queued, "nothing of a refused batch is stored")
}

type panics struct{}

func (panics) WriteTo(io.Writer) (int64, error) { panic("oh") }

func TestNoQueue(t *testing.T) {
	sb := sendertest.Start(t, sendertest.Options{Memory: true})
	s := start(t, config(sb))
	require.ErrorIs(t, s.Submit(context.Background(), letter("a@a.example")), sender.ErrNoQueue)
	require.Empty(t, collect(s.Results(context.Background())))
	shutdown(t, s)
}

func TestQueueNeedsItsStreamsAndTemplates(t *testing.T) {
	sb := sendertest.Start(t, sendertest.Options{Memory: true})
	sb.AddDomain("a.example")
	q := sendertest.NewQueue()
	cfg := queueConfig(sb, q)
	cfg.Streams = map[string]sender.Stream{"news": {}}
	cfg.Templates = map[string]sender.Template{"hello": template.Must(template.New("").Parse("x"))}
	s := start(t, cfg)
	require.NoError(t, s.Submit(context.Background(), &sender.Message{ID: "1", Stream: "news", Template: "hello",
		To: []string{"a@a.example"}, NotBefore: time.Now().Add(time.Hour)}))
	shutdown(t, s)
	cfg.Queue = q.Reopen()
	cfg.Streams, cfg.Templates = nil, nil
	_, err := sender.New(cfg)
	require.ErrorContains(t, err, `Config.Streams: "news" is missing`)
	require.ErrorContains(t, err, `Config.Templates: "hello" is missing`)
}

func TestSubmitTemplate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		cfg := queueConfig(sb, sendertest.NewQueue())
		cfg.Templates = map[string]sender.Template{"hello": template.Must(template.New("").Parse(
			"From: a@sender.example\r\nSubject: {{.name}}\r\n\r\nNumber {{.n}}, {{.price}}, {{range .list}}{{.}};{{end}}{{if gt .n 5}}many{{end}}\r\n"))}
		s := start(t, cfg)
		type data struct {
			Name  string  `json:"name"`
			N     int     `json:"n"`
			Price float64 `json:"price"`
			List  []int   `json:"list"`
		}
		require.NoError(t, s.Submit(context.Background(), &sender.Message{ID: "1", To: []string{"a@a.example"}, Template: "hello",
			Data: data{"Ann", 12345678, 2.5, []int{1, 2}}}))
		r := ends(t, s, 1)["1 a@a.example"]
		require.Equal(t, sender.Sent, r.Outcome)
		shutdown(t, s)
		mail := string(sb.Messages()[0].Data)
		require.Contains(t, mail, "Subject: Ann\r\n")
		require.Contains(t, mail, "Number 12345678, 2.5, 1;2;many\r\n")
		require.Contains(t, mail, "Message-ID: <")
	})
}

// A recipient that fails for now goes back to the Queue, outlives a restart, and
// carries the same Message-ID and Date at each attempt.
func TestSubmitRetriesOverRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		tries := 0
		sb.AddHost("mx.a.example", sendertest.Behavior{Recipient: func(string) *sendertest.Reply {
			if tries++; tries < 4 {
				return sendertest.Answer("451 4.3.0 try again")
			}
			return nil
		}})
		sb.AddDomain("a.example", "mx.a.example")
		q := sendertest.NewQueue()
		s := start(t, queueConfig(sb, q))
		begin := time.Now()
		require.NoError(t, s.Submit(context.Background(), letter("x@a.example")))
		time.Sleep(10 * time.Minute)
		queued, err := s.Queued(context.Background(), sender.Selection{Domains: []string{"a.example"}}, 0, 0)
		require.NoError(t, err)
		require.Len(t, queued, 1)
		require.Equal(t, 2, queued[0].Attempts)
		require.Equal(t, "451 4.3.0 try again", queued[0].Last.Reply.String())
		require.Equal(t, bounce.StageRcpt, queued[0].Last.Reply.Stage)
		require.True(t, queued[0].Due.After(time.Now()))
		shutdown(t, s)
		s = start(t, queueConfig(sb, q.Reopen()))
		r := ends(t, s, 1)["x@a.example x@a.example"]
		require.Equal(t, sender.Sent, r.Outcome)
		require.Equal(t, 4, r.Attempts)
		require.InDelta(t, (5 + 15 + 30), r.Elapsed.Minutes(), 11)
		require.InDelta(t, time.Since(begin).Seconds(), r.Elapsed.Seconds(), 1)
		shutdown(t, s)
		require.Contains(t, string(sb.Messages()[0].Data), "Date: "+begin.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	})
}

// The mark is written before the end of the message goes out.
func TestMarkBeforeTheEndOfTheMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{})
		sb.AddDomain("a.example", "mx.a.example")
		q := sendertest.NewQueue()
		marked := 0
		q.OnWrite(func(changes []sender.Change) error {
			for _, c := range changes {
				if c.Kind == sender.Sending {
					require.LessOrEqual(t, len(sb.Messages()), marked, "received before its mark")
					marked++
				}
			}
			require.LessOrEqual(t, len(sb.Messages()), marked)
			return nil
		})
		q.Delay(sendertest.QueueWrite, 30*time.Millisecond)
		s := start(t, queueConfig(sb, q))
		require.NoError(t, s.Submit(context.Background(), letters(200, "a.example")...))
		ends(t, s, 200)
		shutdown(t, s)
		require.Equal(t, 200, marked)
	})
}

// While the Queue cannot be written nothing is sent; it goes on by itself.
func TestQueueCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{Latency: 50 * time.Millisecond})
		sb.AddDomain("a.example", "mx.a.example")
		q := sendertest.NewQueue()
		cfg := queueConfig(sb, q)
		var paused, resumed int
		kinds := make(chan sender.EventKind, 1000)
		cfg.Observe = func(e sender.Event) {
			if e.Kind == sender.EventPaused || e.Kind == sender.EventResumed {
				kinds <- e.Kind
			}
		}
		s := start(t, cfg)
		require.NoError(t, s.Submit(context.Background(), letters(2000, "a.example")...))
		time.Sleep(500 * time.Millisecond)
		full := errors.New("disk full")
		q.Fail(sendertest.QueueWrite, -1, full)
		time.Sleep(time.Second) // what was marked before goes out
		before := len(sb.Messages())
		require.Greater(t, before, 0)
		require.Less(t, before, 2000)
		time.Sleep(time.Hour)
		require.Len(t, sb.Messages(), before)
		q.Fail(sendertest.QueueWrite, 0, nil)
		got := ends(t, s, 2000)
		for _, r := range got {
			require.Equal(t, sender.Sent, r.Outcome)
			require.Equal(t, 1, r.Attempts, "no server is to blame")
		}
		shutdown(t, s)
		require.Len(t, sb.Messages(), 2000)
		close(kinds)
		for k := range kinds {
			if k == sender.EventPaused {
				paused++
			} else {
				resumed++
			}
		}
		require.Greater(t, paused, 1)
		require.Equal(t, 1, resumed)
	})
}

// After a crash exactly those that were on the wire are Unknown, and the others
// are sent, once.
func TestCrash(t *testing.T) {
	for _, retry := range []bool{false, true} {
		t.Run(fmt.Sprint("RetryUnknown ", retry), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := sendertest.Start(t, sendertest.Options{Memory: true})
				sb.AddHost("mx.a.example", sendertest.Behavior{Latency: 50 * time.Millisecond})
				sb.AddDomain("a.example", "mx.a.example")
				q := sendertest.NewQueue()
				cfg := queueConfig(sb, q)
				cfg.Streams = map[string]sender.Stream{"": {RetryUnknown: retry}}
				s := start(t, cfg)
				require.NoError(t, s.Submit(context.Background(), letters(1000, "a.example")...))
				time.Sleep(2 * time.Second)
				after := q.Reopen() // the old one refuses all from here on, as if the process were gone
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				_ = s.Shutdown(ctx)
				time.Sleep(time.Minute)
				first := len(sb.Messages())
				require.Greater(t, first, 0)
				require.Less(t, first, 1000)
				cfg.Queue = after
				s = start(t, cfg)
				got := ends(t, s, 1000)
				shutdown(t, s)
				times := map[string]int{}
				for _, m := range sb.Messages() {
					times[m.Rcpts[0]]++
				}
				unknown := 0
				for _, r := range got {
					switch n := times[r.Recipient]; r.Outcome {
					case sender.Unknown:
						unknown++
						require.LessOrEqual(t, n, 1)
						require.Error(t, r.Err)
					case sender.Sent:
						if !retry {
							require.Equal(t, 1, n, r.Recipient)
						} else {
							require.GreaterOrEqual(t, n, 1)
						}
					default:
						t.Fatal(r)
					}
				}
				if retry {
					require.Zero(t, unknown)
				} else {
					require.Greater(t, unknown, 0)
					require.LessOrEqual(t, unknown, 20, "two for each connection")
				}
			})
		})
	}
}

// Results that are not acknowledged come again, in the next process too.
func TestResultsUntilAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.a.example", sendertest.Behavior{Recipient: func(to string) *sendertest.Reply {
			if strings.HasPrefix(to, "user1@") {
				return sendertest.Answer("550 5.1.1 no such user")
			}
			return nil
		}})
		sb.AddDomain("a.example", "mx.a.example")
		q := sendertest.NewQueue()
		s := start(t, queueConfig(sb, q))
		msgs := letters(50, "a.example")
		msgs[0].Tags = map[string]string{"list": "spring"}
		require.NoError(t, s.Submit(context.Background(), msgs...))
		time.Sleep(time.Minute)
		yield := func(s *sender.Sender) (got []sender.Result) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			return collect(s.Results(ctx))
		}
		all := yield(s)
		require.Len(t, all, 50)
		require.Len(t, yield(s), 50)
		s.Ack(all[:20]...)
		time.Sleep(time.Second)
		require.Len(t, yield(s), 30)
		shutdown(t, s)
		s = start(t, queueConfig(sb, q.Reopen()))
		again := yield(s)
		require.Len(t, again, 30)
		for i, r := range again {
			want := all[20+i]
			require.Equal(t, want.Recipient, r.Recipient)
			require.Equal(t, want.Outcome, r.Outcome)
			require.Equal(t, want.Class, r.Class)
			require.Equal(t, want.Reply, r.Reply)
			require.Equal(t, want.Message.Tags, r.Message.Tags)
			if want.Err != nil {
				require.EqualError(t, r.Err, want.Err.Error())
			}
		}
		s.Ack(again...)
		time.Sleep(time.Second)
		shutdown(t, s)
		require.Empty(t, collect(s.Results(context.Background())), "it ends with the Sender")
	})
}

// The window of each stream is bounded, and a slow site leaves room for others.
func TestQueueWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := sendertest.Start(t, sendertest.Options{Memory: true})
		sb.AddHost("mx.slow.example", sendertest.Behavior{Tarpit: time.Minute})
		sb.AddHost("mx.fast.example", sendertest.Behavior{Latency: time.Millisecond})
		sb.AddDomain("slow.example", "mx.slow.example")
		sb.AddDomain("fast.example", "mx.fast.example")
		cfg := queueConfig(sb, sendertest.NewQueue())
		cfg.QueueWindow = 400
		cfg.Streams = map[string]sender.Stream{"receipt": {Priority: 1}}
		s := start(t, cfg)
		require.NoError(t, s.Submit(context.Background(), letters(5000, "slow.example")...))
		require.NoError(t, s.Submit(context.Background(), letters(5000, "fast.example")...))
		time.Sleep(3 * time.Second)
		for _, d := range s.Snapshot().Destinations {
			require.LessOrEqual(t, d.Queued+d.InFlight, 400)
		}
		m := letter("receipt@fast.example")
		m.Stream = "receipt"
		require.NoError(t, s.Submit(context.Background(), m))
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		fast, receipt := 0, time.Duration(0)
		for r := range s.Results(ctx) {
			if strings.HasSuffix(r.Recipient, "@fast.example") {
				fast++
			}
			if r.Recipient == m.To[0] {
				receipt = r.Elapsed
			}
		}
		require.Equal(t, 5001, fast, "the slow site costs the fast one nothing")
		require.NotZero(t, receipt)
		require.Less(t, receipt, time.Second)
		end, stop := context.WithCancel(context.Background())
		stop()
		_ = s.Shutdown(end)
	})
}
