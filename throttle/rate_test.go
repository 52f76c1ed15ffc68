package throttle

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseRate(t *testing.T) {
	tests := []struct {
		text string
		want Rate
		back string // "" = text
	}{
		{"20/s", Rate{20, time.Second}, ""},
		{"20/1s", Rate{20, time.Second}, "20/s"},
		{"100/min", Rate{100, time.Minute}, ""},
		{"100/m", Rate{100, time.Minute}, "100/min"},
		{"5000/h", Rate{5000, time.Hour}, ""},
		{"5000/60min", Rate{5000, time.Hour}, "5000/h"},
		{"2000/d", Rate{2000, 24 * time.Hour}, ""},
		{"2000/24h", Rate{2000, 24 * time.Hour}, "2000/d"},
		{"9/7d", Rate{9, 7 * 24 * time.Hour}, ""},
		{"5/10s", Rate{5, 10 * time.Second}, ""},
		{"5/10min", Rate{5, 10 * time.Minute}, "5/10m"},
		{"1/1h30m", Rate{1, 90 * time.Minute}, ""},
		{"1/2h", Rate{1, 2 * time.Hour}, ""},
		{"1/1m30s", Rate{1, 90 * time.Second}, ""},
		{"1/100ms", Rate{1, 100 * time.Millisecond}, ""},
		{"1/ns", Rate{1, 1}, "1/1ns"},
		{"1/1.5s", Rate{1, 1500 * time.Millisecond}, ""},
		{"1/366d", Rate{1, 366 * 24 * time.Hour}, ""},
		{"1000000000/s", Rate{1_000_000_000, time.Second}, ""},
		{"unlimited", Rate{}, ""},
	}
	for _, test := range tests {
		r, err := ParseRate(test.text)
		require.NoError(t, err, test.text)
		require.Equal(t, test.want, r, test.text)
		if test.back == "" {
			test.back = test.text
		}
		require.Equal(t, test.back, r.String())
	}
}

func TestParseRateRefuses(t *testing.T) {
	for _, text := range []string{
		"", "/", "20", "20/", "/s", "0/s", "-1/s", "+1/s", " 1/s", "1 /s", "1/ s", "1/s ", "1.5/s",
		"1/0s", "1/-1s", "1/-s", "1/0d", "1/1.5d", "1/367d", "1/65536d", "1/99999999999999999999d", "1/9000h",
		"1/min/s", "1/week", "1/minute", "1000000001/s", "99999999999999999999/s", "1e3/s", "Unlimited",
	} {
		_, err := ParseRate(text)
		var mistake *Error
		require.ErrorAs(t, err, &mistake, "%q", text)
		require.Equal(t, "rate", mistake.Field)
		require.Equal(t, text, mistake.Value)
		require.NotEmpty(t, mistake.Reason)
	}
}

func TestRateAsText(t *testing.T) {
	var r struct{ A, B Rate }
	require.NoError(t, json.Unmarshal([]byte(`{"A":"5000/h","B":"unlimited"}`), &r))
	require.Equal(t, Rate{5000, time.Hour}, r.A)
	require.Zero(t, r.B)
	out, err := json.Marshal(r)
	require.NoError(t, err)
	require.JSONEq(t, `{"A":"5000/h","B":"unlimited"}`, string(out))

	require.Error(t, json.Unmarshal([]byte(`{"A":"much"}`), &r))
	require.Equal(t, Rate{5000, time.Hour}, r.A, "a refused text must change nothing")
}

func FuzzParseRate(f *testing.F) {
	for _, seed := range []string{"20/s", "5000/h", "1/1h30m", "7/2d", "unlimited", "1/0.5ms", "3/1h0m1s", "-1/s", "1//"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRate(text)
		if err != nil {
			require.Zero(t, r)
			return
		}
		require.Empty(t, r.mistake())
		again, err := ParseRate(r.String())
		require.NoError(t, err)
		require.Equal(t, r, again)
		if r.N > 0 {
			// The gap is the smallest that keeps N+1 starts out of Per.
			n, gap := int64(r.N), int64(r.gap())
			require.GreaterOrEqual(t, gap, (int64(r.Per)+n-1)/n)
			require.Less(t, (gap-1)*n, int64(r.Per))
		}
	})
}
