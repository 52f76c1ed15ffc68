package suppress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/volleymail/volley/bounce"
)

// readAll reads CSV and tells the entries and the numbers of bad lines.
func readAll(t *testing.T, in string, o ReadOptions) (entries []Entry, bad []int, last error) {
	t.Helper()
	for e, err := range ReadCSV(strings.NewReader(in), o) {
		if line, ok := errors.AsType[*LineError](err); ok {
			require.Zero(t, e)
			bad = append(bad, line.Line)
			continue
		}
		if last = err; err == nil {
			entries = append(entries, e)
		}
	}
	return entries, bad, last
}

func TestReadCSV(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		require.NoError(t, err)
		return v
	}
	o := ReadOptions{Time: noon}
	for _, tt := range []struct {
		name string
		in   string
		want []Entry
	}{
		{"ours", "email,stream,reason,category,source,created_at,expires_at\n" +
			"ann@example.com,news,hard-bounce,invalid-mailbox,generic/user-unknown,2026-01-02T03:04:05.000000006Z,2027-01-01T00:00:00Z\n",
			[]Entry{{Address: "ann@example.com", Stream: "news", Cause: HardBounce, Category: bounce.InvalidMailbox, Source: "generic/user-unknown",
				Time: at("2026-01-02T03:04:05.000000006Z"), Expires: at("2027-01-01T00:00:00Z")}}},
		{"the least", "email\nann@example.com\n", []Entry{{Address: "ann@example.com", Cause: Manual, Time: noon}}},
		{"no names", "ann@example.com\nbob@example.com", []Entry{{Address: "ann@example.com", Cause: Manual, Time: noon},
			{Address: "bob@example.com", Cause: Manual, Time: noon}}},
		{"spreadsheet", "\uFEFF\"E-Mail Address\";Reason;Created At\r\n Ann@Example.COM ;Hard Bounce;2026-01-02 03:04:05\r\n\r\n",
			[]Entry{{Address: "Ann@example.com", Cause: HardBounce, Time: at("2026-01-02T03:04:05Z")}}},
		{"tabs", "recipient\ttype\nann@example.com\tunsubscribe\n", []Entry{{Address: "ann@example.com", Cause: Unsubscribed, Time: noon}}},
		{"Amazon", "EmailAddress,Reason,LastUpdateTime\nann@example.com,COMPLAINT,2026-01-02T03:04:05.123Z\nbob@example.com,BOUNCE,\n",
			[]Entry{{Address: "ann@example.com", Cause: Complained, Time: at("2026-01-02T03:04:05.123Z")},
				{Address: "bob@example.com", Cause: HardBounce, Time: noon}}},
		{"SendGrid", "status,reason,email,created\n5.1.1,\"550 5.1.1 no such user\n(try again)\",ann@example.com,1767323045\n",
			[]Entry{{Address: "ann@example.com", Cause: Manual, Source: "550 5.1.1 no such user (try again): 5.1.1", Time: at("2026-01-02T03:04:05Z")}}},
		{"Postmark", "EmailAddress,SuppressionReason,Origin,CreatedAt\nann@example.com,SpamComplaint,Recipient,2026-01-02T03:04:05+01:00\n",
			[]Entry{{Address: "ann@example.com", Cause: Complained, Source: "Recipient", Time: at("2026-01-02T02:04:05Z")}}},
		{"SparkPost", "recipient,type,source,description,created\nann@example.com,non_transactional,Unsubscribe Link,,2026-01-02 03:04:05\n",
			[]Entry{{Address: "ann@example.com", Cause: Unsubscribed, Source: "non_transactional: Unsubscribe Link", Time: at("2026-01-02T03:04:05Z")}}},
		{"Mailgun", "address,code,error,created_at\nann@example.com,550,\"550 \"\"no\"\" mailbox\",\"Fri, 02 Jan 2026 03:04:05 UTC\"\n",
			[]Entry{{Address: "ann@example.com", Cause: Manual, Source: `550 "no" mailbox`, Time: at("2026-01-02T03:04:05Z")}}},
		{"more cells than names", "email\nann@example.com,hello\n", []Entry{{Address: "ann@example.com", Cause: Manual, Time: noon}}},
		{"fewer cells than names", "created,reason,email\n,,ann@example.com\n", []Entry{{Address: "ann@example.com", Cause: Manual, Time: noon}}},
		{"careless quotes", "email,source\n\"ann\"@example.com,say \"no\"\n\"bob@example.com\"  ,\"a\"b\n",
			[]Entry{{Address: "ann@example.com", Cause: Manual, Source: `say "no"`, Time: noon},
				{Address: "bob@example.com", Cause: Manual, Source: "ab", Time: noon}}},
		{"names only", "email,reason\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, bad, err := readAll(t, tt.in, o)
			require.NoError(t, err)
			require.Empty(t, bad)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestReadOptions(t *testing.T) {
	o := ReadOptions{Cause: Unsubscribed, Stream: "news", Time: noon, Expires: noon.Add(day)}
	got, _, err := readAll(t, "email,stream,reason\nann@example.com,,\nbob@example.com,offers,complaint\n", o)
	require.NoError(t, err)
	require.Equal(t, []Entry{
		{Address: "ann@example.com", Stream: "news", Cause: Unsubscribed, Time: noon, Expires: noon.Add(day)},
		{Address: "bob@example.com", Stream: "offers", Cause: Complained, Time: noon, Expires: noon.Add(day)},
	}, got)
}

// A bad row costs that row only.
func TestBadLines(t *testing.T) {
	in := "email,reason,created_at\n" + // 1
		"ann@example.com,bounce,\n" +
		"nobody,bounce,\n" + // 3: no address
		",bounce,\n" + // 4: none at all
		"bob@example.com,bounce,01/02/2026\n" + // 5: which is the month?
		"cid@example.com,bounce,20260102\n" + // 6: no time
		"eve@example.com,\"two\nlines\",\n" + // 7 and 8
		"\"dan@example.com,bounce,\n" + // 9: a quote that is never closed
		strings.Repeat("x", 70_000) + "\n" + // 10: too long
		strings.Repeat(",", 200) + "\n" + // 11: too many cells
		"fay@example.com,bounce,\n" // 12
	got, bad, err := readAll(t, in, ReadOptions{})
	require.NoError(t, err)
	require.Equal(t, []int{3, 4, 5, 6, 9, 10, 11}, bad)
	var addresses []string
	for _, e := range got {
		addresses = append(addresses, e.Address)
	}
	require.Equal(t, []string{"ann@example.com", "eve@example.com", "fay@example.com"}, addresses)

	l := newList(t, nil)
	done, err := l.Import(t.Context(), strings.NewReader(in), ReadOptions{})
	require.NoError(t, err)
	require.Equal(t, 3, done.Added)
	require.Equal(t, 7, done.Bad)
	require.Len(t, done.Lines, 7)
	require.EqualError(t, done.Lines[0], `line 3: address "nobody": it has no @`)
	require.True(t, suppressed(t, l, "FAY@example.com", ""))
}

// A list of subscribers must not become one of the suppressed.
func TestNotSuppressed(t *testing.T) {
	got, bad, err := readAll(t, "email,status\nann@example.com,Subscribed\nbob@example.com,unsubscribed\ncid@example.com,blocked\n", ReadOptions{Time: noon})
	require.NoError(t, err)
	require.Equal(t, []int{2, 4}, bad)
	require.Equal(t, []Entry{{Address: "bob@example.com", Cause: Unsubscribed, Time: noon}}, got)
}

// Rows whose open quotes never close must not make each other's reading slow.
func TestManyOpenQuotes(t *testing.T) {
	in := "email,a,b\n" + strings.Repeat("x\",\",\",\"\n", 2000)
	_, bad, err := readAll(t, in, ReadOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, bad)
}

func TestReadCSVFails(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "empty",
		"\n\n":                    "empty",
		"name,reason\nann,spam\n": "no column is named email, there are: name, reason",
	} {
		got, bad, err := readAll(t, in, ReadOptions{})
		require.Empty(t, got)
		require.Empty(t, bad)
		require.ErrorContains(t, err, want)
	}
	l := newList(t, nil)
	failing := io.MultiReader(strings.NewReader("email\nann@example.com\n"), iotest.ErrReader(errBroken))
	done, err := l.Import(t.Context(), failing, ReadOptions{})
	require.ErrorIs(t, err, errBroken)
	require.Equal(t, 1, done.Added, "what was read before is on the list")
}

func TestReadStops(t *testing.T) {
	n := 0
	for range ReadCSV(strings.NewReader("email\na@b.example\nc@d.example\n"), ReadOptions{}) {
		n++
		break
	}
	require.Equal(t, 1, n)
}

func seq(entries ...Entry) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func TestRoundTrip(t *testing.T) {
	l := newList(t, nil)
	var want []Entry
	for i, source := range []string{"", "plain", `with "quotes", commas; and 'more'`, "=1+1", "日本語 ü", "hard-bounce", "5.1.1"} {
		for _, cause := range []Cause{SoftBounces, HardBounce, Manual, Unsubscribed, Complained} {
			for _, c := range []bounce.Category{bounce.Unknown, bounce.MailboxFull} {
				want = append(want, Entry{Address: fmt.Sprintf("u%d-%d-%d@example.com", i, cause, c), Stream: source, Cause: cause,
					Category: c, Source: source, Time: noon.Add(time.Duration(i)), Expires: noon.Add(time.Duration(i) * day)})
			}
		}
	}
	want = append(want, Entry{Address: `"a,b;\"c\" d"@example.com`, Cause: Manual, Time: noon})
	require.NoError(t, l.Add(t.Context(), want...))
	var file bytes.Buffer
	require.NoError(t, l.Export(t.Context(), &file))

	back := newList(t, nil)
	done, err := back.Import(t.Context(), iotest.OneByteReader(bytes.NewReader(file.Bytes())), ReadOptions{Stream: "other", Cause: HardBounce})
	require.NoError(t, err)
	require.Equal(t, len(want), done.Added)
	for _, e := range want {
		about, err := back.About(t.Context(), e.Address)
		require.NoError(t, err)
		if e.Stream == "" {
			e.Stream = "other" // what the file does not say
		}
		require.Equal(t, []Entry{e}, about)
	}
}

func TestWriteCSVFails(t *testing.T) {
	failing := func(yield func(Entry, error) bool) { yield(Entry{}, errBroken) }
	require.ErrorIs(t, WriteCSV(io.Discard, failing), errBroken)
	many := make([]Entry, 1000)
	require.Error(t, WriteCSV(shortWriter{}, seq(many...)))
	require.Error(t, WriteCSV(shortWriter{}, seq()))
}

type shortWriter struct{}

func (shortWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestParseTime(t *testing.T) {
	want := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, s := range []string{"2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", "2026-01-02 03:04:05", "2026-01-02 03:04:05.000", "2026-01-02 03:04:05 UTC",
		"2026-01-02 03:04:05+00:00", "2026-01-02 03:04:05 +0000 UTC", "Fri, 02 Jan 2026 03:04:05 GMT", "Fri, 2 Jan 2026 03:04:05 +0000", "1767323045", "1767323045000",
		"1767323045.0", "2026/01/02 03:04:05", "Jan 2, 2026 03:04:05"} {
		got, err := parseTime(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"x", "0", "-1", "20260102", "01/02/2026", "NaN", "Inf", "1e300", "2026-13-02"} {
		_, err := parseTime(s)
		require.Error(t, err, s)
	}
}

func FuzzReadCSV(f *testing.F) {
	f.Add("email,reason,created_at\nann@example.com,bounce,2026-01-02\n")
	f.Add("\uFEFFE-Mail;Typ\r\n\"a@b.example\";x\r\n\"open\n")
	f.Add("a@b.example\n\n\"c\"\"d\"@e.example")
	f.Add("email\tsource\na@b.example\t\"two\nlines\"\n")
	f.Fuzz(func(t *testing.T, in string) {
		var good []Entry
		line := 0
		for e, err := range ReadCSV(strings.NewReader(in), ReadOptions{Time: noon}) {
			if bad, ok := errors.AsType[*LineError](err); ok {
				require.Greater(t, bad.Line, line)
				line = bad.Line
				continue
			}
			if err == nil {
				again := e
				require.NoError(t, again.normalize())
				require.Equal(t, e, again)
				good = append(good, e)
			}
		}
		require.LessOrEqual(t, line, strings.Count(in, "\n")+1)
		// What was read can be written and read again.
		var out bytes.Buffer
		require.NoError(t, WriteCSV(&out, seq(good...)))
		var back []Entry
		for e, err := range ReadCSV(&out, ReadOptions{}) {
			require.NoError(t, err)
			back = append(back, e)
		}
		require.Equal(t, good, back)
	})
}

func BenchmarkReadCSV(b *testing.B) {
	var file bytes.Buffer
	file.WriteString("email,reason,created_at\n")
	const n = 10_000
	for i := range n {
		fmt.Fprintf(&file, "user%d@example.com,bounce,2026-01-02T03:04:05Z\n", i)
	}
	b.SetBytes(int64(file.Len()))
	for b.Loop() {
		got := 0
		for _, err := range ReadCSV(bytes.NewReader(file.Bytes()), ReadOptions{}) {
			require.NoError(b, err)
			got++
		}
		require.Equal(b, n, got)
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "rows/s")
}
