package bounce

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/BurntSushi/toml"
)

// maxPack bounds the size of a rule pack.
const maxPack = 8 << 20

// RulesError says what is wrong with a rule pack: everything at once.
type RulesError struct {
	Mistakes []Mistake // in the order of the file, at least one
}

// Mistake is one mistake in a rule pack.
type Mistake struct {
	Line int    // where the rule starts; 0 if it belongs to no rule
	ID   string // of the rule, "" if it has none
	Err  error
}

func (m Mistake) Error() string {
	switch {
	case m.Line == 0:
		return m.Err.Error()
	case m.ID == "":
		return fmt.Sprintf("line %d: %v", m.Line, m.Err)
	}
	return fmt.Sprintf("line %d: rule %q: %v", m.Line, m.ID, m.Err)
}

// Unwrap returns what is wrong.
func (m Mistake) Unwrap() error { return m.Err }

func (e *RulesError) Error() string {
	lines := []string{"bounce: bad rules"}
	for _, m := range e.Mistakes {
		lines = append(lines, m.Error())
	}
	return strings.Join(lines, "\n\t")
}

// Unwrap returns the mistakes.
func (e *RulesError) Unwrap() []error {
	errs := make([]error, len(e.Mistakes))
	for i, m := range e.Mistakes {
		errs[i] = m
	}
	return errs
}

// pack is the file: see the head of rules.toml for what its keys mean.
type pack struct {
	Version  string                  `toml:"version"`
	Words    map[string]string       `toml:"words"`
	Category map[string]packCategory `toml:"category"`
	Provider map[string]packProvider `toml:"provider"`
	Rule     []packRule              `toml:"rule"`
}

type packCategory struct {
	Scope  string `toml:"scope"`
	Action string `toml:"action"`
}

type packProvider struct {
	Hosts  []string `toml:"hosts"`
	Text   []string `toml:"text"`
	Source string   `toml:"source"`
}

type packRule struct {
	ID        string   `toml:"id"`
	Provider  string   `toml:"provider"`
	Stages    []string `toml:"stages"`
	Codes     []string `toml:"codes"`
	Statuses  []string `toml:"statuses"`
	Text      []string `toml:"text"`
	And       []string `toml:"and"`
	Unless    []string `toml:"unless"`
	Category  string   `toml:"category"`
	Scope     string   `toml:"scope"`
	Permanent *bool    `toml:"permanent"`
	Action    string   `toml:"action"`
	Retry     string   `toml:"retry"`
	Source    string   `toml:"source"`
	Samples   []string `toml:"samples"`
}

// LoadRules reads a rule pack in TOML, as described at the head of rules.toml.
// It takes the pack as a whole or not at all: the error, if not of reading r or
// of TOML syntax, is a *RulesError with every mistake. What a pack can have
// wrong beyond that, [Rules.Check] tells.
func LoadRules(r io.Reader) (*Rules, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxPack+1))
	if err != nil {
		return nil, fmt.Errorf("bounce: reading rules: %w", err)
	}
	if len(data) > maxPack {
		return nil, fmt.Errorf("bounce: rules larger than %d bytes", maxPack)
	}
	var p pack
	md, err := toml.Decode(string(data), &p)
	if err != nil {
		return nil, fmt.Errorf("bounce: rules: %w", err)
	}
	l := &loader{rules: &Rules{version: p.Version, byHost: map[string]int{}}, filed: map[string]int{}, lines: ruleLines(string(data))}
	for _, key := range md.Undecoded() {
		l.mistake(fmt.Errorf("unknown key %q", key))
	}
	l.load(&p)
	if len(l.mistakes) > 0 {
		return nil, &RulesError{l.mistakes}
	}
	return l.rules, nil
}

// ruleLines returns the lines on which "[[rule]]" stands.
func ruleLines(data string) (lines []int) {
	n := 0
	for line := range strings.Lines(data) {
		n++
		if strings.HasPrefix(strings.TrimSpace(line), "[[rule]]") {
			lines = append(lines, n)
		}
	}
	return lines
}

// loader builds Rules and collects mistakes.
type loader struct {
	rules    *Rules
	lines    []int
	defaults map[Category]packCategory
	clauses  []clause
	filed    map[string]int // clause by pattern
	words    *strings.Replacer
	mistakes []Mistake
	line     int    // of the rule at hand
	id       string // of the rule at hand
}

func (l *loader) mistake(err error) {
	l.mistakes = append(l.mistakes, Mistake{Line: l.line, ID: l.id, Err: err})
}

func (l *loader) load(p *pack) {
	if p.Version == "" {
		l.mistake(errors.New("no version"))
	}
	if len(p.Rule) == 0 {
		l.mistake(errors.New("no rule"))
	}
	l.loadWords(p.Words)
	l.loadCategories(p.Category)
	l.loadProviders(p.Provider)
	seen := map[string]int{}
	for i := range p.Rule {
		l.line, l.id = 0, p.Rule[i].ID
		if i < len(l.lines) {
			l.line = l.lines[i]
		}
		switch first, dup := seen[l.id]; {
		case l.id == "":
			l.mistake(errors.New("no id"))
		case dup:
			l.mistake(fmt.Errorf("the id stands already in line %d", first))
		}
		seen[l.id] = l.line
		l.rules.rules = append(l.rules.rules, l.loadRule(&p.Rule[i]))
	}
	if len(l.mistakes) == 0 {
		l.finish()
	}
}

// loadWords takes the names that patterns use for parts of them.
func (l *loader) loadWords(words map[string]string) {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(words)) {
		pairs = append(pairs, "{"+name+"}", words[name])
	}
	l.words = strings.NewReplacer(pairs...)
}

func (l *loader) loadCategories(m map[string]packCategory) {
	l.defaults = map[Category]packCategory{}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		var c Category
		l.unmarshal(&c, name)
		l.defaults[c] = m[name]
	}
}

func (l *loader) loadProviders(m map[string]packProvider) {
	for i, name := range slices.Sorted(maps.Keys(m)) {
		pp := m[name]
		p := provider{name: name, hosts: pp.Hosts, text: l.clauseList(pp.Text), source: pp.Source}
		if len(pp.Hosts) == 0 {
			l.mistake(fmt.Errorf("provider %q has no hosts", name))
		}
		for _, h := range pp.Hosts {
			if h != strings.ToLower(strings.Trim(h, ".")) || h == "" {
				l.mistake(fmt.Errorf("provider %q: host %q is not a lower-case name without outer dots", name, h))
			}
			if _, dup := l.rules.byHost[h]; dup {
				l.mistake(fmt.Errorf("provider %q: host %q is another provider's", name, h))
			}
			l.rules.byHost[h] = i
		}
		l.rules.providers = append(l.rules.providers, p)
	}
}

func (l *loader) loadRule(p *packRule) rule {
	ru := rule{Rule: Rule{ID: p.ID, Provider: p.Provider, Codes: p.Codes, Statuses: p.Statuses, Text: p.Text, And: p.And, Unless: p.Unless,
		Permanent: p.Permanent, Source: p.Source, Samples: p.Samples, Line: l.line}, provider: -1}
	l.loadMatch(&ru, p)
	l.loadMeaning(&ru, p)
	if ru.Source == "" && ru.provider >= 0 {
		ru.Source = l.rules.providers[ru.provider].source
	}
	if ru.Source == "" {
		l.mistake(errors.New("no source"))
	}
	if len(ru.Samples) == 0 {
		l.mistake(errors.New("no sample"))
	}
	ru.confidence = confidence(&ru)
	return ru
}

func (l *loader) loadMatch(ru *rule, p *packRule) {
	if p.Provider != "" {
		ru.provider = slices.IndexFunc(l.rules.providers, func(q provider) bool { return q.name == p.Provider })
		if ru.provider < 0 {
			l.mistake(fmt.Errorf("unknown provider %q", p.Provider))
		}
	}
	for _, name := range p.Stages {
		var s Stage
		if l.unmarshal(&s, name); s != StageNone {
			ru.Stages = append(ru.Stages, s)
			ru.stages |= 1 << s
		}
	}
	for _, s := range p.Codes {
		c, err := parseCode(s)
		if err != nil {
			l.mistake(err)
		}
		ru.codes = append(ru.codes, c)
	}
	ru.local = len(p.Stages) > 0 && len(p.Codes) == 1 && p.Codes[0] == "none"
	for _, s := range p.Statuses {
		st, err := parseStatusPattern(s)
		if err != nil {
			l.mistake(err)
		}
		ru.statuses = append(ru.statuses, st)
	}
	ru.text, ru.and, ru.unless = l.clauseList(p.Text), l.clauseList(p.And), l.clauseList(p.Unless)
	if p.Provider == "" && len(p.Stages)+len(p.Codes)+len(p.Statuses)+len(p.Text)+len(p.And) == 0 {
		l.mistake(errors.New("no condition: every reply would match"))
	}
}

func (l *loader) loadMeaning(ru *rule, p *packRule) {
	l.unmarshal(&ru.Category, p.Category)
	d := l.defaults[ru.Category]
	l.unmarshal(&ru.Scope, firstOf(p.Scope, d.Scope, ScopeUnknown.String()))
	l.unmarshal(&ru.Action, firstOf(p.Action, d.Action, ActionFail.String()))
	if p.Retry != "" {
		var err error
		if ru.Retry, err = time.ParseDuration(p.Retry); err != nil || ru.Retry <= 0 || ru.Retry > maxHint {
			l.mistake(fmt.Errorf("bad retry %q: a duration up to 24h", p.Retry))
		}
	}
	triesAgain := ru.Action == ActionRetry || ru.Action == ActionPause
	switch {
	case ru.Action == ActionSuppress && (!ru.Category.dead() || ru.Scope.aboutUs() || ru.Scope == ScopeMessage):
		l.mistake(fmt.Errorf("%v with scope %v must not suppress", ru.Category, ru.Scope))
	case ru.Category.dead() && ru.Scope.aboutUs():
		l.mistake(fmt.Errorf("%v cannot have scope %v", ru.Category, ru.Scope))
	case triesAgain && ru.Permanent != nil && *ru.Permanent:
		l.mistake(fmt.Errorf("permanent, but the action is %v", ru.Action))
	}
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

func (l *loader) unmarshal(v interface{ UnmarshalText([]byte) error }, name string) {
	if err := v.UnmarshalText([]byte(name)); err != nil {
		l.mistake(errors.New(strings.TrimPrefix(err.Error(), "bounce: ")))
	}
}

func (l *loader) clauseList(patterns []string) []int {
	ids := make([]int, len(patterns))
	for i, p := range patterns {
		ids[i] = l.clause(p)
	}
	return ids
}

// clause files a pattern and returns its index; the same pattern is filed once.
func (l *loader) clause(pattern string) int {
	if i, ok := l.filed[pattern]; ok {
		return i
	}
	l.filed[pattern] = len(l.clauses)
	var c clause
	expanded := l.words.Replace(pattern)
	tree, err := syntax.Parse(expanded, syntax.Perl)
	if err == nil {
		c.re, err = regexp.Compile(expanded)
	}
	switch {
	case err != nil:
		l.mistake(fmt.Errorf("bad pattern %q: %w", pattern, err))
	case c.re.MatchString(""):
		l.mistake(fmt.Errorf("pattern %q matches any text", pattern))
	case wordName.MatchString(expanded):
		l.mistake(fmt.Errorf("pattern %q uses a word that is not in [words]", pattern))
	case hasUpper(tree):
		l.mistake(fmt.Errorf("pattern %q has upper case: texts are matched in lower case", pattern))
	default:
		c.literals = literalsOf(tree.Simplify())
	}
	l.clauses = append(l.clauses, c)
	return len(l.clauses) - 1
}

var wordName = regexp.MustCompile(`\{[a-z-]+\}`)

func hasUpper(re *syntax.Regexp) bool {
	return re.Op == syntax.OpLiteral && slices.ContainsFunc(re.Rune, unicode.IsUpper) || slices.ContainsFunc(re.Sub, hasUpper)
}

func confidence(ru *rule) float32 {
	text := len(ru.text) > 0
	switch {
	case ru.local:
		return 1
	case text && ru.provider >= 0:
		return 0.95
	case ru.provider >= 0:
		return 0.85
	case text:
		return 0.8
	case len(ru.statuses) > 0:
		return 0.5
	}
	return 0.25
}

// finish builds what Classify needs to be quick.
func (l *loader) finish() {
	rs := l.rules
	var texts []string
	for i := range rs.rules {
		for _, s := range rs.rules[i].Samples {
			texts = append(texts, foldText(s))
		}
	}
	rs.clauses, rs.index = l.clauses, newIndex(l.clauses, texts)
	rs.triggers = make([][]int, rs.index.sets)
	rs.always = make([]uint64, (len(rs.rules)+63)/64)
	for i := range rs.rules {
		text := rs.rules[i].text
		slices.SortStableFunc(text, func(a, b int) int { return rs.clauses[a].cost() - rs.clauses[b].cost() })
		for _, id := range text {
			if needs := rs.clauses[id].needs; len(needs) > 0 {
				rs.triggers[needs[0]] = append(rs.triggers[needs[0]], i)
			}
		}
		if len(text) == 0 || slices.ContainsFunc(text, func(id int) bool { return len(rs.clauses[id].needs) == 0 }) {
			rs.always[i/64] |= 1 << (i % 64)
		}
	}
}
