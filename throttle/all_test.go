package throttle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAll(t *testing.T) {
	slow := MustNew(Limits{Rates: []Rate{{1, time.Second}}, Conns: 9, Messages: -1, Idle: time.Minute})
	few := MustNew(Limits{Rates: []Rate{{3, time.Hour}}, Conns: 2, Messages: 7, ConnRate: Rate{2, time.Minute}})
	both := All(slow, few)

	require.Equal(t, Conns{Max: 2, Messages: 7, Idle: 30 * time.Second}, both.Conns(noon))
	require.Equal(t, both.Conns(noon), All(few, slow).Conns(noon))
	both.Take(noon)
	require.Equal(t, noon.Add(time.Second), slow.Next(noon), "each has counted it")
	require.Equal(t, noon.Add(20*time.Minute), few.Next(noon))
	require.Equal(t, noon.Add(20*time.Minute), both.Next(noon))
	require.Equal(t, "3/h", both.(Explainer).Binding(noon))
	require.Empty(t, both.(Explainer).Binding(noon.Add(20*time.Minute)))
	require.Equal(t, noon.Add(20*time.Minute), both.(Settler).Settled(noon))

	both.Observe(noon, Feedback{Event: Opening})
	both.Observe(noon, Feedback{Event: Opening})
	require.Equal(t, noon.Add(time.Minute), both.Conns(noon).Next)
}

func TestAllOfNone(t *testing.T) {
	c := All()
	require.Equal(t, noon, c.Next(noon))
	require.Equal(t, noLimit, c.Conns(noon).Max)
	require.Equal(t, noon, c.(Settler).Settled(noon))
	require.Empty(t, c.(Explainer).Binding(noon))
}

func TestAllKeepsItsOwnList(t *testing.T) {
	list := []Controller{MustNew(Limits{Conns: 1})}
	c := All(list...)
	list[0] = MustNew(Limits{Conns: 4})
	require.Equal(t, 1, c.Conns(noon).Max)
}

func TestConnsOfBoth(t *testing.T) {
	soon, late := noon.Add(time.Second), noon.Add(time.Hour)
	tests := map[string]struct{ a, b, want Conns }{
		"later next":               {Conns{Max: 1, Next: soon}, Conns{Max: 2, Next: late}, Conns{Max: 1, Next: late}},
		"a suspension ends":        {Conns{Next: soon}, Conns{Max: 2, Next: late}, Conns{Next: soon}},
		"a suspension has no end":  {Conns{}, Conns{Max: 2, Next: late}, Conns{}},
		"two suspensions":          {Conns{Next: soon}, Conns{Next: late}, Conns{Next: late}},
		"two, one without end":     {Conns{Next: soon}, Conns{}, Conns{}},
		"messages, one unlimited":  {Conns{Messages: 3}, Conns{Messages: 0}, Conns{Messages: 3}},
		"messages, the smaller":    {Conns{Messages: 3}, Conns{Messages: 2}, Conns{Messages: 2}},
		"idle, one closes at once": {Conns{Idle: 3}, Conns{}, Conns{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, test.a.and(test.b))
			require.Equal(t, test.want, test.b.and(test.a))
		})
	}
}

// bare has none of the optional methods.
type bare struct{ Controller }

func (b bare) Next(now time.Time) time.Time { return now.Add(time.Hour) }

func TestAllWithoutOptionalMethods(t *testing.T) {
	c := All(MustNew(Limits{}), bare{MustNew(Limits{})})
	require.Empty(t, c.(Explainer).Binding(noon), "the binding one cannot say")
	require.True(t, c.(Settler).Settled(noon).After(noon.Add(maxPer)))
}
