package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(programVar) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// programVar makes the program of the tests the program itself, for tests that
// kill it.
const programVar = "CAMPAIGN_TEST_PROGRAM"

// output is a screen that several goroutines may write to.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// call runs the program.
func call(ctx context.Context, e *env, args ...string) (code int, stdout, stderr string) {
	var out, errs output
	e.stdout, e.stderr = &out, &errs
	if e.getenv == nil {
		e.getenv = func(string) string { return "" }
	}
	code = run(ctx, args, e)
	return code, out.String(), errs.String()
}

// readResults returns the rows of a results file as maps.
func readResults(t *testing.T, file string) []map[string]string {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	require.Equal(t, resultColumns, lines[0])
	var rows []map[string]string
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, name := range resultColumns {
			row[name] = line[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// byEmail wants each address once.
func byEmail(t *testing.T, rows []map[string]string) map[string]map[string]string {
	t.Helper()
	m := map[string]map[string]string{}
	for _, row := range rows {
		require.NotContains(t, m, row["email"])
		m[row["email"]] = row
	}
	return m
}

// folder writes files into a new folder and returns a function that names them.
func folder(t *testing.T, files map[string]string) func(name string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return func(name string) string { return filepath.Join(dir, name) }
}

func TestHelp(t *testing.T) {
	code, _, stderr := call(t.Context(), &env{}, "-help")
	require.Equal(t, exitDone, code)
	require.Contains(t, stderr, "-list-unsubscribe")
}

func TestBadFlags(t *testing.T) {
	file := folder(t, map[string]string{
		"list.csv": "email\nann@example.com\n",
		"mail.txt": "Hello\n",
		"key.pem":  "not a key",
		"old.csv":  "results of yesterday",
	})
	good := map[string]string{"-recipients": file("list.csv"), "-text": file("mail.txt"), "-subject": "Hello",
		"-from": "news@shop.example", "-hostname": "mail.shop.example", "-relay": "127.0.0.1:1"}
	for _, tc := range []struct {
		name string
		set  map[string]string // in place of good; "-" = without the flag
		want []string          // all must be in the message
	}{
		{"unknown flag", map[string]string{"-colour": "red"}, []string{"-colour"}},
		{"real flag in the demo", map[string]string{"-recipients": "-"}, []string{"-subject", "needs -recipients"}},
		{"no list", map[string]string{"-recipients": file("none.csv")}, []string{"-recipients", "none.csv", "no such file"}},
		{"no sender", map[string]string{"-from": "-"}, []string{"-from", "news@shop.example"}},
		{"malformed sender", map[string]string{"-from": "The Shop"}, []string{`-from "The Shop"`}},
		{"malformed return path", map[string]string{"-return-path": "bounces"}, []string{`-return-path "bounces"`}},
		{"no subject", map[string]string{"-subject": "-"}, []string{"-subject is missing"}},
		{"no mail", map[string]string{"-text": "-"}, []string{"-html", "-text"}},
		{"no template", map[string]string{"-text": file("none.txt")}, []string{"-text", "none.txt", "no such file"}},
		{"broken template", map[string]string{"-subject": "Hello {{.first"}, []string{"-subject", "unclosed action"}},
		{"results exist", map[string]string{"-out": file("old.csv")}, []string{"-out", "old.csv", "exists"}},
		{"no key", map[string]string{"-dkim-key": file("none.pem"), "-dkim-selector": "s1"}, []string{"-dkim-key", "none.pem", "no such file"}},
		{"bad key", map[string]string{"-dkim-key": file("key.pem"), "-dkim-selector": "s1"}, []string{"-dkim-key", "key.pem", "PEM"}},
		{"selector without key", map[string]string{"-dkim-selector": "s1"}, []string{"-dkim-selector", "need -dkim-key"}},
		{"no password", map[string]string{"-relay-user": "shop"}, []string{"-relay-user", passwordVar}},
		{"user without relay", map[string]string{"-relay-user": "shop", "-relay": "-"}, []string{"-relay-user needs -relay"}},
		{"bad relay", map[string]string{"-relay": "relay.example:99999"}, []string{"-relay", "99999"}},
		{"relay without port", map[string]string{"-relay": "relay.example"}, []string{"-relay", "port"}},
		{"relay without host", map[string]string{"-relay": "my relay:25"}, []string{"-relay", "my relay"}},
		{"bad DNS server", map[string]string{"-dns": "dns.example", "-relay": "-"}, []string{`-dns "dns.example"`, "address"}},
		{"DNS and relay", map[string]string{"-dns": "127.0.0.1"}, []string{"-dns", "-relay"}},
		{"bad rate", map[string]string{"-rate": "fast"}, []string{"-rate", "fast", "20/s"}},
		{"bad connections", map[string]string{"-conns": "-3"}, []string{"-conns"}},
		{"bad hostname", map[string]string{"-hostname": "my machine"}, []string{"-hostname", "my machine"}},
		{"bad time", map[string]string{"-for": "-3s"}, []string{"-for -3s"}},
		{"bad limit", map[string]string{"-limit": "-1"}, []string{"-limit -1"}},
		{"several", map[string]string{"-subject": "-", "-from": "-", "-rate": "fast"}, []string{"-subject", "-from", "-rate"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			flags := map[string]string{}
			for _, from := range []map[string]string{good, tc.set} {
				for name, value := range from {
					flags[name] = value
				}
			}
			var args []string
			for name, value := range flags {
				if value != "-" {
					args = append(args, name+"="+value)
				}
			}
			code, _, stderr := call(t.Context(), &env{}, args...)
			require.Equal(t, exitUsage, code, stderr)
			for _, want := range tc.want {
				require.Contains(t, stderr, want)
			}
		})
	}
}

func TestStrayArgument(t *testing.T) {
	code, _, stderr := call(t.Context(), &env{}, "list.csv")
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, `"list.csv"`)
	require.Contains(t, stderr, "-recipients")
}

func TestProblemsAreBounded(t *testing.T) {
	var p problems
	require.NoError(t, p.err())
	for range maxProblems + 5 {
		p.add("again")
	}
	require.Equal(t, maxProblems, strings.Count(p.err().Error(), "again"))
	require.Contains(t, p.err().Error(), "and 5 more")
}
