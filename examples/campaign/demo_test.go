package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/sender/sendertest"
)

// The whole demonstration, in virtual time.
func TestDemo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.csv")
	var code int
	var stdout, stderr string
	synctest.Test(t, func(t *testing.T) {
		code, stdout, stderr = call(t.Context(), &env{}, "-n", "600", "-out", file)
	})
	require.Equal(t, exitDone, code, stderr)
	require.Empty(t, stderr)
	require.NotContains(t, stdout, "\x1b", "terminal control, though it is no terminal")
	require.Regexp(t, `(?m)^ +2s +\d+% +\d+ sent`, stdout)
	require.Contains(t, stdout, "Results: "+file)
	require.Contains(t, stdout, ", 0 of them twice.")

	rows := readResults(t, file)
	require.Len(t, rows, 600)
	byEmail(t, rows)
	outcomes := map[string][]string{}
	for _, row := range rows {
		if strings.HasPrefix(row["email"], goneMark) || strings.HasPrefix(row["email"], fullMark) {
			continue
		}
		domain := domainOf(row["email"])
		if !slices.Contains(outcomes[domain], row["outcome"]+" "+row["category"]) {
			outcomes[domain] = append(outcomes[domain], row["outcome"]+" "+row["category"])
		}
	}
	for _, p := range healthy {
		require.Equal(t, []string{"sent "}, outcomes[p.domains[0]], p.domains[0])
	}
	for _, domain := range []string{"cautious.example", "strict.example", "rusty-tls.example", "onelegged.example", "molasses.example"} {
		require.Equal(t, []string{"sent "}, outcomes[domain], domain)
	}
	require.Equal(t, []string{"rejected invalid-domain"}, outcomes["bigmial.example"])
	require.Equal(t, []string{"rejected invalid-domain"}, outcomes["no-mail.example"])
	require.Equal(t, []string{"deferred connection-failure"}, outcomes["deadletter.example"])
	require.NotContains(t, outcomes["fortress.example"], "sent ")
	// The healthy ones end long before the time is over.
	require.Less(t, tookSeconds(t, stdout), demoTime.Seconds())
}

func tookSeconds(t *testing.T, stdout string) (s float64) {
	t.Helper()
	found := regexp.MustCompile(`recipients in ([\d.]+) s`).FindStringSubmatch(stdout)
	require.NotNil(t, found, stdout)
	_, err := fmt.Sscan(found[1], &s)
	require.NoError(t, err)
	return s
}

// When the time is over, what is left is deferred and says why.
func TestDemoTimeOver(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.csv")
	synctest.Test(t, func(t *testing.T) {
		code, stdout, stderr := call(t.Context(), &env{}, "-n", "600", "-for", "2s", "-out", file)
		require.Equal(t, exitDone, code, stderr)
		require.Contains(t, stdout, neverTried)
		require.Contains(t, stdout, errTime.Error())
	})
	rows := readResults(t, file)
	require.Len(t, byEmail(t, rows), 600)
	require.True(t, slices.ContainsFunc(rows, func(row map[string]string) bool {
		return row["outcome"] == "deferred" && row["attempts"] == "0" && row["category"] == neverTried && strings.Contains(row["error"], errTime.Error()) && row["retry_at"] != ""
	}))
}

// Ctrl-C: each recipient is in the results, those not taken too.
func TestInterrupt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.csv")
	interrupt := errors.New("interrupt signal received")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(interrupt) })
		sandbox := sendertest.Start(t, sendertest.Options{Memory: true})
		providers := slices.Clone(healthy)
		for i := range providers {
			providers[i].settle(sandbox)
		}
		c, err := newDemo(&options{n: 500, out: file}, sandbox, providers)
		require.NoError(t, err)
		c.cfg.Window = 20
		var out output
		e := &env{stdout: &out}
		sum, err := c.run(ctx, e)
		require.NoError(t, err)
		sum.report(e)
		require.Equal(t, exitLeft, sum.code())
		require.Contains(t, out.String(), notAttempted)
		require.Contains(t, out.String(), interrupt.Error())
		require.Less(t, sum.took, 10*time.Second)
		require.NoError(t, sandbox.Close())
	})
	rows := readResults(t, file)
	require.Len(t, byEmail(t, rows), 500)
	seen := map[string]bool{}
	for _, row := range rows {
		seen[row["outcome"]] = true
	}
	require.True(t, seen["sent"] && seen["deferred"] && seen[notAttempted], seen)
}

func TestInterruptedDemo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		code, _, _ := call(ctx, &env{}, "-n", "500", "-out", filepath.Join(t.TempDir(), "results.csv"))
		require.Equal(t, exitLeft, code)
	})
}

// On a terminal the display is drawn over itself and is gone at the end.
func TestTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, stdout, _ := call(t.Context(), &env{screen: &screen{60, 20}}, "-n", "300", "-for", "2s", "-out", filepath.Join(t.TempDir(), "r.csv"))
		require.Contains(t, stdout, "waiting  conns   sent  reject…")
		frames := strings.Split(stdout, noWrap)
		require.Greater(t, len(frames), 10)
		height := 0
		for i, frame := range frames[1:] {
			if i > 0 {
				require.Contains(t, frame, fmt.Sprintf("\x1b[%dA\r", height), "it starts where the last one did")
			}
			drawn, _, _ := strings.Cut(frame, wrap)
			height = strings.Count(drawn, "\n")
			require.LessOrEqual(t, height, 20)
		}
		require.Contains(t, stdout, clearEnd+"300 recipients in")
	})
}

func TestAudience(t *testing.T) {
	providers := slices.Concat(healthy, troubled)
	shares := 0
	for _, p := range providers {
		shares += p.share
	}
	for _, n := range []int{1, 7, 1000} {
		l := audience(providers, n, 1)
		require.Len(t, l.rows, n)
		require.NoError(t, l.check(), "addresses are good and none is there twice")
	}
	require.Equal(t, audience(providers, 50, 3).rows, audience(providers, 50, 3).rows)
	require.Equal(t, 10_000, shares)
}

func TestResultsFileFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		code, _, stderr := call(t.Context(), &env{}, "-n", "1", "-out", filepath.Join(t.TempDir(), "none", "results.csv"))
		require.Equal(t, exitLeft, code)
		require.Contains(t, stderr, "-out")
		require.Contains(t, stderr, "no such file")
	})
}
