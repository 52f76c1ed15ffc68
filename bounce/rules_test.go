package bounce

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDefaultRules runs every sample through the whole pack: its own rule must
// decide. Check reports what does not.
func TestDefaultRules(t *testing.T) {
	rs := DefaultRules()
	require.NotEmpty(t, rs.Version())
	for _, f := range rs.Check() {
		t.Error(f)
	}
	n := 0
	for ru := range rs.All() {
		n++
		for _, s := range ru.Samples {
			r := rs.sampleReply(&rule{Rule: ru, provider: providerIndex(rs, ru.Provider)}, s)
			c := rs.Classify(r)
			require.Equal(t, ru.ID, c.Rule, s)
			require.Equal(t, ru.Category, c.Category, s)
		}
		got, ok := rs.Rule(ru.ID)
		require.True(t, ok)
		require.Equal(t, ru, got)
		require.NotEmpty(t, ru.Source, ru.ID)
		require.Positive(t, ru.Line)
	}
	require.Greater(t, n, 200)
	_, ok := rs.Rule("no/such")
	require.False(t, ok)
	for range rs.All() {
		break
	}
}

func providerIndex(rs *Rules, name string) int {
	for i, p := range rs.providers {
		if p.name == name {
			return i
		}
	}
	return -1
}

// TestPrefilter: the index never changes the answer. FuzzClassify tries more.
func TestPrefilter(t *testing.T) {
	rs := DefaultRules()
	for i := 0; i < len(rs.rules); i += 5 { // trying each pattern of each rule takes its time
		ru := &rs.rules[i]
		s := ru.Samples[len(ru.Samples)-1]
		for _, s := range []string{strings.ToUpper(s), s[len(s)/2:]} {
			r := ParseReply(s)
			text := foldText(r.Text)
			require.Equal(t, rs.matchEach(&r, text), rs.match(&r, text), s)
		}
	}
}

func load(pack string) (*Rules, error) { return LoadRules(strings.NewReader(pack)) }

const goodRule = `
version = "1"
[[rule]]
id = "a"
text = ['foo']
category = "spam-content"
source = "test"
samples = ["550 foo"]
`

func TestLoadRules(t *testing.T) {
	rs, err := load(goodRule)
	require.NoError(t, err)
	require.Empty(t, rs.Check())
	c := rs.Classify(Reply{Code: 550, Text: "Foo!"})
	require.Equal(t, Class{Category: SpamContent, Permanent: true, Action: ActionFail, Rule: "a", Confidence: 0.8}, c)
}

// TestLoadRulesAllMistakes: one error has them all, each with line and id.
func TestLoadRulesAllMistakes(t *testing.T) {
	rs, err := load(`
[category.nonsense]
scope = "site"

[provider.p]
hosts = []

[provider.q]
hosts = [".Example.com"]

[[rule]]
id = "a"
provider = "nobody"
stages = ["lunch"]
codes = ["55", "5xx"]
statuses = ["5.1", "x.y.z", "0.0.0", "5.9-1.x"]
text = ['(', 'Foo', 'x*', '{nothing} at all']
category = "bad"
scope = "bad"
action = "bad"
retry = "soon"
colour = "red"

[[rule]]
id = "a"
text = ['b']
category = "reputation-block"
action = "suppress"
source = "s"
samples = ["550 b"]

[[rule]]
category = "invalid-mailbox"
scope = "source"
source = "s"
samples = ["550 b"]

[[rule]]
id = "c"
codes = ["550"]
category = "rate-limited"
action = "pause"
permanent = true
source = "s"
samples = ["550 b"]
`)
	require.Nil(t, rs)
	var re *RulesError
	require.ErrorAs(t, err, &re)
	want := []string{
		`unknown key "rule.colour"`,
		`no version`,
		`unknown category "nonsense"`,
		`provider "p" has no hosts`,
		`provider "q": host ".Example.com" is not a lower-case name`,
		`line 11: rule "a": unknown provider "nobody"`,
		`line 11: rule "a": unknown stage "lunch"`,
		`line 11: rule "a": bad code "55"`,
		`line 11: rule "a": bad status "5.1"`,
		`line 11: rule "a": bad status "x.y.z"`,
		`line 11: rule "a": bad status "0.0.0"`,
		`line 11: rule "a": bad status "5.9-1.x"`,
		`line 11: rule "a": bad pattern "("`,
		`line 11: rule "a": pattern "Foo" has upper case`,
		`line 11: rule "a": pattern "x*" matches any text`,
		`line 11: rule "a": pattern "{nothing} at all" uses a word`,
		`line 11: rule "a": unknown category "bad"`,
		`line 11: rule "a": unknown scope "bad"`,
		`line 11: rule "a": unknown action "bad"`,
		`line 11: rule "a": bad retry "soon"`,
		`line 11: rule "a": no source`,
		`line 11: rule "a": no sample`,
		`line 24: rule "a": the id stands already in line 11`,
		`line 24: rule "a": reputation-block with scope unknown must not suppress`,
		`line 32: no id`,
		`line 32: no condition`,
		`line 32: invalid-mailbox cannot have scope source`,
		`line 38: rule "c": permanent, but the action is pause`,
	}
	for _, w := range want {
		require.ErrorContains(t, err, w)
	}
	require.Len(t, re.Mistakes, len(want), "%v", err)
	var m Mistake
	require.True(t, errors.As(err, &m))
}

func TestLoadRulesBroken(t *testing.T) {
	_, err := load("version = ")
	require.ErrorContains(t, err, "toml")
	_, err = load("")
	require.ErrorContains(t, err, "no rule")
	_, err = LoadRules(bytes.NewReader(make([]byte, maxPack+1)))
	require.ErrorContains(t, err, "larger")
	_, err = LoadRules(brokenReader{})
	require.ErrorIs(t, err, errBroken)
}

var errBroken = errors.New("broken")

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }

func TestCheck(t *testing.T) {
	rs, err := load(goodRule + `
[[rule]]
id = "shadowed"
text = ['foo bar']
category = "spam-content"
source = "test"
samples = ["550 foo bar"]

[[rule]]
id = "dead"
codes = ["450"]
text = ['baz']
category = "spam-content"
source = "test"
samples = ["550 baz"]

[[rule]]
id = "contradictory"
text = ['foo']
category = "virus"
source = "test"
samples = ["450 baz"]

[[rule]]
id = "same sample"
text = ['foo']
codes = ["5xx"]
category = "virus"
source = "test"
samples = ["550 foo"]
`)
	require.NoError(t, err)
	var got []string
	for _, f := range rs.Check() {
		got = append(got, f.String())
	}
	require.Equal(t, []string{
		`line 10: rule "shadowed" is shadowed by "a": sample "550 foo bar"`,
		`line 17: rule "dead" is dead: sample "550 baz"`,
		`line 25: rule "contradictory" is contradictory by "a"`,
		`line 25: rule "contradictory" is dead by "dead": sample "450 baz"`,
		`line 32: rule "same sample" is contradictory by "a": sample "550 foo"`,
	}, got)
}

// TestRuleConditions: every kind of condition holds or does not.
func TestRuleConditions(t *testing.T) {
	rs, err := load(`
version = "1"
[words]
fruit = '(apple|pear)'
[provider.p]
hosts = ["example.com"]
text = ['via example']

[[rule]]
id = "provider"
provider = "p"
text = ['{fruit}']
unless = ['rotten']
category = "spam-content"
source = "t"
samples = ["550 pear"]

[[rule]]
id = "and"
text = ['one']
and = ['two']
category = "virus"
source = "t"
samples = ["550 two one"]

[[rule]]
id = "stage"
stages = ["body"]
text = ['three']
category = "virus"
source = "t"
samples = ["550 three"]

[[rule]]
id = "stage without text"
stages = ["auth"]
codes = ["5x5"]
category = "relay-denied"
source = "t"
samples = ["535 four"]

[[rule]]
id = "status"
statuses = ["x.7.2-3", "none"]
codes = ["44x", "none"]
category = "virus"
source = "t"
samples = ["441 4.7.2 five"]
`)
	require.NoError(t, err)
	require.Empty(t, rs.Check())
	for _, tt := range []struct {
		rule  string
		reply Reply
	}{
		{"provider", Reply{Code: 550, Host: "mx.example.com", Text: "Apple"}},
		{"provider", Reply{Code: 550, Text: "apple via example"}},
		{"", Reply{Code: 550, Text: "apple"}},
		{"", Reply{Code: 550, Host: "mx.example.com", Text: "rotten apple"}},
		{"and", Reply{Code: 550, Text: "two and one"}},
		{"", Reply{Code: 550, Text: "one"}},
		{"", Reply{Code: 550, Text: "two"}},
		{"stage", Reply{Code: 550, Stage: StageBody, Text: "three"}},
		{"stage", Reply{Code: 550, Text: "three"}},
		{"", Reply{Code: 550, Stage: StageRcpt, Text: "three"}},
		{"stage without text", Reply{Code: 595, Stage: StageAuth}},
		{"", Reply{Code: 595}},
		{"", Reply{Code: 585, Stage: StageRcpt}},
		{"status", Reply{Code: 449, Status: Status{5, 7, 3}}},
		{"status", Reply{Status: Status{4, 7, 2}}},
		{"status", Reply{}},
		{"", Reply{Code: 449, Status: Status{4, 7, 4}}},
		{"", Reply{Code: 450}},
	} {
		require.Equal(t, tt.rule, rs.Classify(tt.reply).Rule, "%+v", tt.reply)
	}
}
