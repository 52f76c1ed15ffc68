package sender_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/throttle"
)

// helloes counts the EHLO names that mail came from, but for the first mails.
func helloes(h *sendertest.Host, from int) map[string]int {
	n := map[string]int{}
	for _, m := range h.Messages()[from:] {
		n[m.RemoteHello]++
	}
	return n
}

// What waits goes by another source midway, where it was told to, and by those of
// its stream again afterwards.
func TestMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, cfg := two(t)
		cfg.Policy = throttle.PolicyFunc(slow)
		cfg.Sources = []sender.Source{{Name: "1", Hostname: "one.sender.example"}, {Name: "2", Hostname: "two.sender.example"}}
		cfg.Streams["news"] = sender.Stream{Sources: []string{"1"}}
		s := start(t, cfg)
		msgs := kinds(100, []string{"news"}, []string{"may"}, "a.example", "b.example")
		results := sending(s, msgs)
		time.Sleep(20*time.Second + 100*time.Millisecond)
		require.Equal(t, []string{"one.sender.example"}, keys(helloes(a, 0)))
		sel := sender.Selection{Sites: []string{"mx.a.example"}, Campaigns: []string{"may"}}
		require.NoError(t, s.Move(t.Context(), sel, "2"))
		time.Sleep(3 * time.Second)
		at := len(a.Messages())
		time.Sleep(20 * time.Second)
		require.Equal(t, []string{"two.sender.example"}, keys(helloes(a, at)))
		require.Len(t, s.Moves(), 1)
		require.Equal(t, "2", s.Moves()[0].Source)
		require.NoError(t, s.Move(t.Context(), sender.Selection{Streams: []string{"news"}}, ""))
		require.Len(t, s.Moves(), 1, "of one stream alone it cannot be undone")
		require.NoError(t, s.Move(t.Context(), sel, ""))
		require.Empty(t, s.Moves())
		time.Sleep(3 * time.Second)
		at = len(a.Messages())
		require.Equal(t, 200, count(results())[sender.Sent])
		require.Equal(t, []string{"one.sender.example"}, keys(helloes(a, at)))
		require.Equal(t, []string{"one.sender.example"}, keys(helloes(b, 0)))
		shutdown(t, s)
	})
}

func keys(m map[string]int) (names []string) {
	for k := range m {
		names = append(names, k)
	}
	return names
}

// A move goes before Choose and before the source that greylisted mail would wait
// for; of two moves the newer counts.
func TestMoveGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, cfg := two(t)
		a.SetBehavior(sendertest.Behavior{Greylist: time.Hour})
		cfg.Sources = []sender.Source{{Name: "1", Hostname: "one.sender.example"}, {Name: "2", Hostname: "two.sender.example"},
			{Name: "3", Hostname: "three.sender.example"}}
		cfg.Choose = func(*sender.Message, string) []string { return []string{"1"} }
		s := start(t, cfg)
		results := sending(s, letters(10, "a.example"))
		time.Sleep(time.Minute)
		require.NoError(t, s.Move(t.Context(), sender.Selection{}, "3"))
		require.NoError(t, s.Move(t.Context(), sender.Selection{Sites: []string{"mx.a.example"}}, "2"))
		for _, r := range results() {
			require.Equal(t, sender.Sent, r.Outcome)
			require.Equal(t, "2", r.Source)
			require.Greater(t, r.Attempts, 1)
		}
		require.Equal(t, "3", s.SendAll(t.Context(), letter("u@b.example"))[0].Source)
		shutdown(t, s)
	})
}

// What waits for a later try is tried at once.
func TestSendNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, cfg := two(t)
		answer := sendertest.Answer("450 4.2.0 mailbox busy")
		a.SetBehavior(sendertest.Behavior{Message: func(*sendertest.Message) *sendertest.Reply { return answer }})
		s := start(t, cfg)
		results := sending(s, kinds(5, streams, campaigns, "a.example"))
		time.Sleep(10 * time.Second)
		a.SetBehavior(sendertest.Behavior{})
		n, err := s.SendNow(t.Context(), sender.Selection{Streams: []string{"news"}, Campaigns: []string{"may"}})
		require.NoError(t, err)
		require.Equal(t, 5, n)
		time.Sleep(time.Second)
		require.Equal(t, map[string]int{"news-may": 5}, arrived(a))
		n, err = s.SendNow(t.Context(), sender.Selection{Recipients: []string{"promo-april-user3@a.example"}})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		n, err = s.SendNow(t.Context(), sender.Selection{})
		require.NoError(t, err)
		require.Equal(t, 24, n)
		begin := time.Now()
		require.Equal(t, 30, count(results())[sender.Sent])
		require.Less(t, time.Since(begin), 10*time.Second)
		shutdown(t, s)
		_, err = s.SendNow(t.Context(), sender.Selection{})
		require.ErrorIs(t, err, sender.ErrShutdown)
	})
}

// Where it names a site, what a failed connection holds is tried too.
func TestSendNowWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, cfg := two(t)
		a.SetBehavior(sendertest.Behavior{Refuse: true})
		s := start(t, cfg)
		results := sending(s, letters(10, "a.example"))
		time.Sleep(10 * time.Second)
		a.SetBehavior(sendertest.Behavior{})
		_, err := s.SendNow(t.Context(), sender.Selection{Streams: []string{"news"}, Sites: []string{"mx.a.example"}})
		require.NoError(t, err)
		synctest.Wait()
		require.Empty(t, a.Messages())
		_, err = s.SendNow(t.Context(), sender.Selection{Sites: []string{"mx.a.example"}})
		require.NoError(t, err)
		begin := time.Now()
		require.Equal(t, 10, count(results())[sender.Sent])
		require.Less(t, time.Since(begin), time.Minute)
		shutdown(t, s)
	})
}

// A domain that could not be looked up is looked up again.
func TestSendNowLooksUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb, _, cfg := simple(t, sendertest.Behavior{})
		sb.SetDomain("a.example", sendertest.Domain{Fail: true})
		cfg.Retry.Schedule = []time.Duration{10 * time.Hour}
		s := start(t, cfg)
		results := sending(s, letters(10, "a.example"))
		time.Sleep(time.Hour)
		sb.AddDomain("a.example", "mx.a.example")
		n, err := s.SendNow(t.Context(), sender.Selection{Domains: []string{"a.example"}})
		require.NoError(t, err)
		require.Equal(t, 10, n)
		begin := time.Now()
		require.Equal(t, 10, count(results())[sender.Sent])
		require.Less(t, time.Since(begin), time.Minute)
		shutdown(t, s)
	})
}
