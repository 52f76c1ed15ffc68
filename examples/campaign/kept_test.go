package main

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
	"github.com/volleymail/volley/sender/spool"
)

// keptDemo is the demonstration with healthy providers and a Queue in memory.
func keptDemo(t *testing.T, n int, q sender.Queue, out string) (*campaign, *sendertest.Sandbox) {
	t.Helper()
	sandbox := sendertest.Start(t, sendertest.Options{Memory: true})
	providers := slices.Clone(healthy)
	for i := range providers {
		providers[i].settle(sandbox)
	}
	c, err := newDemo(&options{n: n, seed: 1, spool: "queue"}, sandbox, providers)
	require.NoError(t, err)
	c.kept = &kept{name: "queue", queue: q, release: func() error { return nil }, mail: c.mail}
	require.NoError(t, c.kept.open(t.Context(), out))
	return c, sandbox
}

// Interrupted again and again, the campaign goes on each time and ends with a
// result for each recipient.
func TestGoesOn(t *testing.T) {
	const n = 400
	out := filepath.Join(t.TempDir(), "results.csv")
	interrupt := errors.New("interrupt signal received")
	took := map[string]int{}
	synctest.Test(t, func(t *testing.T) {
		q := sendertest.NewQueue()
		earlier := 0
		for runs := 1; ; runs++ {
			require.Less(t, runs, 20)
			c, sandbox := keptDemo(t, n, q, out)
			require.Equal(t, earlier, c.kept.earlier.done(), "what the last run knew")
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(800*ms, func() { cancel(interrupt) })
			var screen output
			e := &env{stdout: &screen}
			sum, err := c.run(ctx, e)
			require.NoError(t, err)
			sum.report(e)
			require.NoError(t, sandbox.Close())
			for _, m := range sandbox.Messages() {
				took[m.Rcpts[0]]++
			}
			require.Empty(t, q.Violations())
			earlier = n - sum.left()
			if sum.left() == 0 {
				require.Greater(t, runs, 2)
				require.Contains(t, screen.String(), "every recipient of the list")
				require.Contains(t, screen.String(), "400 recipients, ")
				break
			}
			require.Contains(t, screen.String(), "left in queue: the same command again")
			require.Equal(t, exitLeft, sum.code())
			q = q.Reopen()
		}
		left, err := q.List(t.Context(), sender.Selection{}, 0, 1)
		require.NoError(t, err)
		require.Empty(t, left)
		results, err := q.Results(t.Context(), 0, 1)
		require.NoError(t, err)
		require.Empty(t, results, "all are acknowledged")
	})
	rows := byEmail(t, readResults(t, out))
	require.Len(t, rows, n)
	for addr, row := range rows {
		require.NotEqual(t, "unknown", row["outcome"], "a stop in order leaves nothing on the wire")
		if row["outcome"] == "sent" {
			require.Equal(t, 1, took[addr], addr)
			delete(took, addr)
		}
	}
	require.Empty(t, took)
}

// Results that are written down and not yet acknowledged come again, and are
// passed over.
func TestResultsComeAgain(t *testing.T) {
	out := filepath.Join(t.TempDir(), "results.csv")
	synctest.Test(t, func(t *testing.T) {
		q := sendertest.NewQueue()
		q.OnWrite(func(changes []sender.Change) error { // acknowledgements are lost
			for _, c := range changes {
				if c.Kind == sender.Acknowledged {
					return errors.New("the disk is full")
				}
			}
			return nil
		})
		c, _ := keptDemo(t, 100, q, out)
		sum, err := c.run(t.Context(), &env{stdout: new(output)})
		require.NoError(t, err)
		require.Zero(t, sum.left())
		q = q.Reopen()
		again, err := q.Results(t.Context(), 0, 1)
		require.NoError(t, err)
		require.NotEmpty(t, again)

		lines, err := os.ReadFile(out)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(out, lines[:len(lines)-5], 0o600)) // a crash has torn the last line
		c, sandbox := keptDemo(t, 100, q, out)
		require.Equal(t, 99, c.kept.earlier.done())
		sum, err = c.run(t.Context(), &env{stdout: new(output)})
		require.NoError(t, err)
		require.Zero(t, sum.left())
		require.Empty(t, sandbox.Messages())
	})
	require.Len(t, byEmail(t, readResults(t, out)), 100)
}

// A result that can't be kept is not acknowledged.
func TestResultsCannotBeWritten(t *testing.T) {
	out := filepath.Join(t.TempDir(), "results.csv")
	synctest.Test(t, func(t *testing.T) {
		q := sendertest.NewQueue()
		c, _ := keptDemo(t, 50, q, out)
		require.NoError(t, c.kept.out.file.Close())
		sum, err := c.run(t.Context(), &env{stdout: new(output)})
		require.ErrorContains(t, err, "-out "+out)
		require.Positive(t, sum.left()+sum.outcomes.done())
		c, _ = keptDemo(t, 50, q.Reopen(), out)
		require.Zero(t, c.kept.earlier.done())
		sum, err = c.run(t.Context(), &env{stdout: new(output)})
		require.NoError(t, err)
		require.Zero(t, sum.left())
	})
	require.Len(t, byEmail(t, readResults(t, out)), 50)
}

// While the spool can't be written, nothing is sent, and the display says why.
func TestPaused(t *testing.T) {
	out := filepath.Join(t.TempDir(), "results.csv")
	synctest.Test(t, func(t *testing.T) {
		q := sendertest.NewQueue()
		q.Fail(sendertest.QueueWrite, 3, errors.New("the disk is full"))
		c, _ := keptDemo(t, 50, q, out)
		var screen output
		sum, err := c.run(t.Context(), &env{stdout: &screen})
		require.NoError(t, err)
		require.Zero(t, sum.left())
		require.Regexp(t, `(?m)^ +2s +0% +0 sent, 50 to go, nothing is sent for now: the disk is full`, screen.String())
	})
}

// Rows that nobody knows of are told: nothing would ever come of waiting.
func TestLostRows(t *testing.T) {
	out := filepath.Join(t.TempDir(), "results.csv")
	synctest.Test(t, func(t *testing.T) {
		q := sendertest.NewQueue()
		c, _ := keptDemo(t, 50, q, out)
		_, err := c.run(t.Context(), &env{stdout: new(output)})
		require.NoError(t, err)
		lines, err := os.ReadFile(out)
		require.NoError(t, err)
		cut := strings.Join(strings.SplitAfter(string(lines), "\n")[:40], "") // 39 results
		require.NoError(t, os.WriteFile(out, []byte(cut), 0o600))
		c, _ = keptDemo(t, 50, q.Reopen(), out)
		sum, err := c.run(t.Context(), &env{stdout: new(output)})
		require.ErrorIs(t, err, errLost)
		require.ErrorContains(t, err, "results of 11 recipients")
		require.Equal(t, 11, sum.left())
	})
}

// An error of the Queue ends the run; the next one goes on.
func TestSubmitFails(t *testing.T) {
	out := filepath.Join(t.TempDir(), "results.csv")
	synctest.Test(t, func(t *testing.T) {
		q := sendertest.NewQueue()
		full := errors.New("the disk is full")
		q.Fail(sendertest.QueueSubmit, 1, full)
		c, _ := keptDemo(t, 50, q, out)
		sum, err := c.run(t.Context(), &env{stdout: new(output)})
		require.ErrorIs(t, err, full)
		require.Equal(t, 50, sum.left())
		c, _ = keptDemo(t, 50, q.Reopen(), out)
		sum, err = c.run(t.Context(), &env{stdout: new(output)})
		require.NoError(t, err)
		require.Zero(t, sum.left())
	})
}

// A file of results is one of this campaign, or is left alone.
func TestOpenResults(t *testing.T) {
	c := testComposer(t, testList(t, "email", "ann@example.com", "bob@example.com", "cleo@example.com"), mailOf("Hello"))
	head := strings.Join(resultColumns, ",") + "\n"
	line := func(row, email, outcome, err string) string {
		return row + "," + email + "," + outcome + ",,,,,1,0.1,," + err + "\n"
	}
	ann, bob := line("2", "ann@example.com", "sent", ""), line("3", "bob@example.com", "rejected", "\"no\nsuch user\"")
	for _, tc := range []struct {
		name, content string
		begun         bool
		kept          string // what stays
		earlier       outcomes
		want          string // of the error
	}{
		{name: "empty", kept: head},
		{name: "only the head", content: head, kept: head},
		{name: "torn head", content: head[:20], begun: true, kept: head},
		{name: "whole", content: head + ann + bob, begun: true, kept: head + ann + bob, earlier: outcomes{sender.Sent: 1, sender.Rejected: 1}},
		{name: "without line end", content: head + ann[:len(ann)-1], begun: true, kept: head},
		{name: "torn", content: head + ann + bob[:9], begun: true, kept: head + ann, earlier: outcomes{sender.Sent: 1}},
		{name: "torn in quotes", content: head + ann + bob[:len(bob)-4], begun: true, kept: head + ann, earlier: outcomes{sender.Sent: 1}},
		{name: "torn behind a line end in quotes", content: head + ann + bob[:len(bob)-11], begun: true, kept: head + ann, earlier: outcomes{sender.Sent: 1}},
		{name: "not begun", content: head + ann, want: "not of this spool"},
		{name: "another file", content: "email,first\n", begun: true, want: "name another one"},
		{name: "damaged", content: head + "2,ann@exa\n" + bob, begun: true, want: "damaged"},
		{name: "another list", content: head + line("2", "zoe@example.com", "sent", "") + bob, begun: true, want: `line 2: row 2 of the list is not "zoe@example.com"`},
		{name: "longer list", content: head + line("5", "zoe@example.com", "sent", "") + bob, begun: true, want: "row 5"},
		{name: "twice", content: head + ann + ann, begun: true, want: "row 2 is there twice"},
		{name: "no outcome", content: head + line("2", "ann@example.com", "lost", "") + bob, begun: true, want: "lost"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "results.csv")
			require.NoError(t, os.WriteFile(file, []byte(tc.content), 0o600))
			k := &kept{mail: c, release: func() error { return nil }}
			err := k.openResults(file, tc.begun)
			defer k.close()
			if tc.want != "" {
				require.ErrorContains(t, err, tc.want)
				tc.kept = tc.content
			} else {
				require.NoError(t, err)
				require.Equal(t, tc.earlier, k.earlier)
				k.out.write(4, &sender.Result{Recipient: "cleo@example.com"})
				require.NoError(t, k.out.sync())
				tc.kept += "4,cleo@example.com,sent,,,,,0,0.000,,\n"
			}
			got, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, tc.kept, string(got))
		})
	}
	k := &kept{mail: c}
	require.ErrorContains(t, k.openResults(filepath.Join(t.TempDir(), "none.csv"), true), "bring it back")
}

// The whole program with a spool: it ends, and goes on with nothing to do; what
// does not fit together is refused.
func TestSpool(t *testing.T) {
	s := newShop(t, sendertest.Options{})
	addr, err := s.sandbox.Host("mx.shop.example").Listen()
	require.NoError(t, err)
	args := append(slices.Clone(s.args), "-relay", addr, "-limit", "3", "-spool", s.file("mail.db"))
	spooled := func(more ...string) (code int, stdout, stderr string) {
		return call(t.Context(), &env{}, append(slices.Clone(args), more...)...)
	}
	code, stdout, stderr := spooled()
	require.Equal(t, exitDone, code, stdout+stderr)
	require.Contains(t, stdout, "3 recipients in ")
	require.Contains(t, stdout, "nothing is left in "+s.file("mail.db"))
	require.NotContains(t, stdout, "goes on")
	sent := s.sandbox.Host("mx.shop.example").Messages()
	require.Len(t, sent, 2)
	for _, m := range sent {
		require.Contains(t, string(m.Data), "List-Unsubscribe: <https://shop.example/u/t")
		require.Contains(t, string(m.Data), "DKIM-Signature: ")
	}
	before := byEmail(t, readResults(t, s.file("results.csv")))
	require.Len(t, before, 3)
	require.Equal(t, "sent", before["ann@one.example"]["outcome"])

	code, stdout, stderr = spooled()
	require.Equal(t, exitDone, code, stdout+stderr)
	require.Contains(t, stdout, "goes on: 3 recipients have their results")
	require.Len(t, s.sandbox.Host("mx.shop.example").Messages(), 2)
	require.True(t, maps.EqualFunc(before, byEmail(t, readResults(t, s.file("results.csv"))), maps.Equal))

	foreign := folder(t, map[string]string{"results.csv": strings.Join(resultColumns, ",") + "\n2,zoe@example.com,sent,,,,,1,0.1,,\n", "text": "not a spool, but long enough to have the head of one"})
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"another list", []string{"-limit", "2"}, "begun with another list"},
		{"another template", []string{"-subject", "Bye"}, "begun with other templates"},
		{"another file of results", []string{"-out", foreign("results.csv")}, "zoe@example.com"},
		{"no file of results", []string{"-out", foreign("none.csv")}, "none.csv: the file is missing"},
		{"a file that exists", []string{"-spool", foreign("new.db")}, "results.csv: the file exists"},
		{"no spool", []string{"-spool", foreign("text")}, "no spool"},
		{"no folder", []string{"-spool", foreign("none/mail.db")}, "-spool"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := spooled(tc.args...)
			require.Equal(t, exitUsage, code, stdout+stderr)
			require.Contains(t, stderr, tc.want)
		})
	}
	t.Run("in use", func(t *testing.T) {
		q, err := spool.Open(s.file("mail.db"), nil)
		require.NoError(t, err)
		defer q.Close()
		code, _, stderr := spooled()
		require.Equal(t, exitUsage, code)
		require.Contains(t, stderr, spool.ErrLocked.Error())
	})
	t.Run("mail of another program", func(t *testing.T) {
		q := sendertest.NewQueue()
		require.NoError(t, q.Submit(t.Context(), time.Now(), &sender.Submission{Message: &sender.Message{ID: "1", To: []string{"ann@example.com"}}}))
		k := &kept{queue: q, mail: testComposer(t, testList(t, "email", "ann@example.com"), mailOf("Hello"))}
		require.ErrorContains(t, k.open(t.Context(), foreign("new.csv")), "another program")
		require.NoFileExists(t, foreign("new.csv"))
	})
}
