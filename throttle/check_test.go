package throttle

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckFindsFlaws(t *testing.T) {
	const proof = "\nsource = \"x\"\nsamples = [\"a.example: mx.example.net\"]\n"
	const trigger = "[[profile.a.trigger]]\nid = \"t\"\nsource = \"x\"\n"
	tests := map[string]struct {
		text string
		want []Finding
	}{
		"nothing": {"[profile.a]\nmx = [\"example.net\"]" + proof, nil},
		"for nothing": {"[profile.a]\nconns = 1\nsource = \"x\"",
			[]Finding{{Unmatchable, "a", "", "no domains, sites or mx", ""}}},
		"known below": {"[profile.google]\nconns = 1\nsource = \"x\"", nil},
		"sample elsewhere": {"[profile.a]\nmx = [\"example.org\"]" + proof, []Finding{
			{Dead, "a", "", "a.example: mx.example.net", ""},
			{Unproven, "a", "", "no sample for example.org", ""}}},
		"sample of one more specific": {"[profile.a]\nmx = [\"example.net\"]" + proof + "[profile.b]\nmx = [\"mx.example.net\"]" + proof,
			[]Finding{{Shadowed, "a", "", "a.example: mx.example.net", "b"}}},
		"same suffix": {"[profile.a]\nmx = [\"example.net\"]" + proof + "[profile.b]\nmx = [\"example.net\"]" + proof, []Finding{
			{Contradictory, "a", "", "example.net", "b"},
			{Contradictory, "b", "", "example.net", "a"},
			{Shadowed, "b", "", "a.example: mx.example.net", "a"}}},
		"suffix in suffix": {"[profile.a]\nmx = [\"example.net\", \"mx.example.net\"]" + proof,
			[]Finding{{Shadowed, "a", "", "mx.example.net", "example.net"}}},
		"domain twice": {"[profile.a]\ndomains = [\"a.example\", \"a.example\"]" + proof,
			[]Finding{{Shadowed, "a", "", "a.example stands twice", ""}}},
		"site in another form": {"[profile.a]\nsites = [\"mx.example.net\"]" + proof + "[profile.b]\nsites = [\"mx.example.net mx.example.net\"]\nsource = \"x\"",
			[]Finding{
				{Contradictory, "a", "", "mx.example.net", "b"},
				{Contradictory, "b", "", "mx.example.net", "a"},
				{Unproven, "b", "", "no sample for mx.example.net", ""}}},
		"no proof": {"[profile.a]\ndomains = [\"a.example\"]",
			[]Finding{{Unproven, "a", "", "no source", ""}, {Unproven, "a", "", "no sample for any of the domains", ""}}},
		"idle rate": {"[profile.a]\nmx = [\"example.net\"]\nrates = [\"1/s\", \"5000/h\", \"3600/h\", \"61/min\"]" + proof, []Finding{
			{Shadowed, "a", "", "5000/h", "1/s"},
			{Shadowed, "a", "", "3600/h", "1/s"},
			{Shadowed, "a", "", "61/min", "1/s"}}},
		"without nothing": {"[profile.a]\nmx = [\"example.net\"]\nwithout = [\"no/such\"]" + proof,
			[]Finding{{Unmatchable, "a", "", "without no/such", ""}}},
		"trigger's sample": {"[profile.a]\nmx = [\"example.net\"]" + proof + trigger + `text = "slow"` + "\ncodes = [\"421\"]\naction = \"suspend\"\nfor = \"1m\"\nsamples = [\"421 slow\", \"450 slow\", \"421 fast\"]",
			[]Finding{{Dead, "a", "t", "450 slow", ""}, {Dead, "a", "t", "421 fast", ""}}},
		"trigger's proof": {"[profile.a]\nmx = [\"example.net\"]" + proof + "[[profile.a.trigger]]\nid = \"t\"\naction = \"suspend\"\nfor = \"1m\"",
			[]Finding{{Unproven, "a", "t", "no source", ""}, {Unproven, "a", "t", "no sample", ""}}},
		"no sample to look at": {"[profile.a]\nsource = \"x\"\nmx = [\"example.net\"]\nrates = [\"1/min\", \"unlimited\"]\n" + trigger + "action = \"limit\"\nrate = \"1/s\"\nfor = \"1m\"\nsamples = [\"421 slow\"]\n" +
			"[profile.b]\nsource = \"x\"\nsites = [\"(a|b).example.org\"]\nmessages = 2\n[[profile.b.trigger]]\nid = \"u\"\nsource = \"x\"\naction = \"limit\"\nmessages = 2\nfor = \"1m\"\nsamples = [\"421 slow\"]\n" +
			"[profile.c]\nsource = \"x\"\ndomains = [\"c.example\"]\nconns = -1\n[[profile.c.trigger]]\nid = \"v\"\nsource = \"x\"\naction = \"limit\"\nconns = 500\nfor = \"1m\"\nsamples = [\"421 slow\"]\n", []Finding{
			{Unproven, "a", "", "no sample for example.net", ""},
			{Shadowed, "a", "", "unlimited", "1/min"},
			{Dead, "a", "t", "its limits are no lower than those of the profile", ""},
			{Unproven, "b", "", "no sample for a.example.org b.example.org", ""},
			{Dead, "b", "u", "its limits are no lower than those of the profile", ""},
			{Unproven, "c", "", "no sample for any of the domains", ""}}},
		"words of nobody": {"[profile.a]\nmx = [\"example.net\"]" + proof + trigger + "action = \"suspend\"\nfor = \"1m\"\nsamples = [\"421 slow\"]\n" +
			"categories = [\"rate-limited\", \"slow\"]\nscopes = [\"planet\"]", []Finding{
			{Unmatchable, "a", "t", "no category is called slow", ""},
			{Unmatchable, "a", "t", "no scope is called planet", ""}}},
		"no reply to show": {"[profile.a]\nmx = [\"example.net\"]" + proof + trigger + "on = [\"connection-failed\"]\naction = \"suspend\"\nfor = \"1m\"", nil},
		"limit that is none": {"[profile.a]\nmx = [\"example.net\"]\nconns = 3\nshared = { conns = 2 }\nmessages = 5\nrates = [\"10/s\"]" + proof + trigger +
			"action = \"limit\"\nfor = \"1m\"\nconns = 2\nmessages = 5\nrate = \"600/min\"\nsamples = [\"421 slow\"]",
			[]Finding{{Dead, "a", "t", "its limits are no lower than those of the profile", ""}}},
		"one effect twice": {"[profile.a]\nmx = [\"example.net\"]" + proof + trigger + "action = \"suspend\"\nfor = \"1m\"\nsamples = [\"421 slow\"]\n" +
			"[[profile.a.trigger]]\nid = \"u\"\nsource = \"x\"\ncount = 1\naction = \"suspend\"\nfor = \"1m\"\nsamples = [\"421 slow\"]",
			[]Finding{{Shadowed, "a", "u", "the same as another", "t"}}},
		"two effects": {"[profile.a]\nmx = [\"example.net\"]" + proof + trigger + "action = \"suspend\"\nfor = \"1m\"\nsamples = [\"421 slow\"]\n" +
			"[[profile.a.trigger]]\nid = \"u\"\nsource = \"x\"\naction = \"suspend\"\nfor = \"2m\"\nsamples = [\"421 slow\"]", []Finding{
			{Contradictory, "a", "t", "the same matches, and another effect", "u"},
			{Contradictory, "a", "u", "the same matches, and another effect", "t"}}},
		"always too late": {"[profile.a]\nmx = [\"example.net\"]" + proof + trigger + "action = \"suspend\"\nfor = \"1h\"\nsamples = [\"421 slow\"]\n" +
			"[[profile.a.trigger]]\nid = \"u\"\nsource = \"x\"\ncount = 3\nwithin = \"1h\"\naction = \"suspend\"\nfor = \"1m\"\nsamples = [\"421 slow\"]",
			[]Finding{{Shadowed, "a", "u", "another fires before it and for as long", "t"}}},
		"replaced": {"[profile.a]\nmx = [\"example.net\"]" + proof + trigger + "action = \"suspend\"\nfor = \"1h\"\nsamples = [\"421 slow\"]\n" +
			"[default]\n[[default.trigger]]\nid = \"t\"\nsource = \"x\"\naction = \"suspend\"\nfor = \"2h\"\nsamples = [\"421 slow\"]\n" +
			"[profile.b]\nmx = [\"mx2.example.net\"]\nsource = \"x\"\nsamples = [\"a.example: mx2.example.net\"]\nwithout = [\"t\"]", nil},
		"kept and dropped": {"[profile.a]\nmx = [\"example.net\"]\nwithout = [\"t\"]" + proof + trigger + "action = \"suspend\"\nfor = \"1h\"\nsamples = [\"421 slow\"]",
			[]Finding{{Contradictory, "a", "t", "the profile does without it", ""}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := mustPack(t, test.text).Check(DefaultProfiles())
			require.ElementsMatch(t, test.want, got)
		})
	}
}

func TestFindingsReadWell(t *testing.T) {
	f := Finding{Shadowed, "a", "t", "421 slow", "b"}
	require.Equal(t, `profile "a", trigger "t": shadowed: 421 slow (by "b")`, f.String())
	require.Equal(t, `profile "a": unproven: no source`, Finding{Flaw: Unproven, Profile: "a", What: "no source"}.String())
	require.Equal(t, "unknown flaw", Flaw(77).String())
}
