package throttle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)

func TestZeroLimits(t *testing.T) {
	c := MustNew(Limits{})
	require.Equal(t, Conns{Max: 5, Messages: 50, Idle: 30 * time.Second}, c.Conns(noon))
	for range 1000 {
		require.Equal(t, noon, c.Next(noon))
		c.Take(noon)
		c.Observe(noon, Feedback{Event: Opening, Conns: 1})
	}
	require.Zero(t, c.Conns(noon).Next)
	require.Empty(t, c.(Explainer).Binding(noon))
	require.Equal(t, noon, c.(Settler).Settled(noon))
}

func TestNegativeMeansNone(t *testing.T) {
	c := MustNew(Limits{Conns: -1, Messages: -1, Idle: -1}).Conns(noon)
	require.Equal(t, Conns{Max: noLimit}, c)
	require.Equal(t, noLimit, Unlimited().For(Key{}).Conns(noon).Max)
	require.Zero(t, Unlimited().For(Key{}).Conns(noon).Messages)
}

func TestDefault(t *testing.T) {
	c := Default().For(Key{Site: "example.com"})
	require.Equal(t, MustNew(Limits{}).Conns(noon), c.Conns(noon), "the defaults of the fields")
	c.Take(noon)
	require.Equal(t, noon.Add(10*time.Millisecond), c.Next(noon))
	require.Equal(t, "100/s", c.(Explainer).Binding(noon))
	require.False(t, Default().(Grouper).PerDomain(Key{}))
	require.NoError(t, DefaultLimits().Validate())

	l := DefaultLimits()
	l.Rates[0].N = 1
	require.Equal(t, 100, DefaultLimits().Rates[0].N, "each call has its own Rates")
}

func TestValidate(t *testing.T) {
	require.NoError(t, Limits{Rates: []Rate{{}}, Burst: 1_000_000_000}.Validate())

	err := Limits{
		Rates:    []Rate{{20, time.Second}, {0, time.Hour}, {-1, time.Hour}, {5, 0}, {5, -1}, {5, 367 * 24 * time.Hour}},
		Burst:    -1,
		ConnRate: Rate{2_000_000_000, time.Hour},
	}.Validate()
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok)
	var fields []string
	for _, e := range joined.Unwrap() {
		mistake, ok := e.(*Error)
		require.True(t, ok)
		fields = append(fields, mistake.Field)
	}
	require.Equal(t, []string{"Rates[1]", "Rates[2]", "Rates[3]", "Rates[4]", "Rates[5]", "ConnRate", "Burst"}, fields)
	require.ErrorContains(t, err, `throttle: Rates[2] "-1/1h0m0s": the number must be at least 1`)

	c, err := New(Limits{Burst: -1})
	require.Error(t, err)
	require.Nil(t, c)
	require.Panics(t, func() { MustNew(Limits{Burst: -1}) })
}

func TestPolicyFunc(t *testing.T) {
	p := PolicyFunc(func(k Key) Limits {
		if k.Domain == "big.example" {
			return Limits{Conns: 2, PerDomain: true}
		}
		return Limits{Conns: 3}
	})
	require.Equal(t, 2, p.For(Key{Domain: "big.example"}).Conns(noon).Max)
	require.Equal(t, 3, p.For(Key{Domain: "small.example"}).Conns(noon).Max)
	require.True(t, p.PerDomain(Key{Domain: "big.example"}))
	require.False(t, p.PerDomain(Key{Domain: "small.example"}))
	require.NotSame(t, p.For(Key{}), p.For(Key{}), "each destination has its own")
}

func TestPolicyFuncWithMistakes(t *testing.T) {
	c := PolicyFunc(func(Key) Limits { return Limits{Burst: -1} }).For(Key{})
	require.Equal(t, Conns{}, c.Conns(noon), "suspended")
	require.Equal(t, noon, c.Next(noon))
	c.Take(noon)
	c.Observe(noon, Feedback{})
	require.Equal(t, Limits{Burst: -1}.Validate().Error(), c.(Explainer).Binding(noon))
}

func TestEventString(t *testing.T) {
	seen := map[string]bool{}
	for e := Opening; e <= Refused+1; e++ {
		require.NotEmpty(t, e.String())
		require.False(t, seen[e.String()], e)
		seen[e.String()] = true
	}
	require.Equal(t, "unknown event", Event(99).String())
}
