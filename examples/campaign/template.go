package main

import (
	"errors"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

// newText parses a template and says which fields it uses. One of html/template
// reads the same.
func newText(name, source string) (*template.Template, fieldUse, error) {
	t, err := template.New(name).Option("missingkey=error").Parse(source)
	if err != nil {
		return nil, nil, templateError(err)
	}
	use := fieldUse{}
	for _, part := range t.Templates() {
		use.node(part.Tree.Root, nil)
	}
	return t, use, nil
}

// templateError is shorter than the package's own words; the position stays.
func templateError(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "template: "))
}

// fieldUse says of each merge field that a template uses whether it must have
// a value. It need not where the template provides for its absence: in the
// condition of an if or with, below it, and as an argument of or, and, not.
type fieldUse map[string]bool

func (u fieldUse) mark(field string, needed bool) { u[field] = u[field] || needed }

// merge adds what another template uses.
func (u fieldUse) merge(other fieldUse) {
	for field, needed := range other {
		u.mark(field, needed)
	}
}

// node walks the tree; given are the fields known to have a value.
func (u fieldUse) node(n parse.Node, given []string) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, child := range n.Nodes {
				u.node(child, given)
			}
		}
	case *parse.ActionNode:
		u.pipe(n.Pipe, given, true)
	case *parse.TemplateNode:
		u.pipe(n.Pipe, given, true)
	case *parse.RangeNode:
		u.pipe(n.Pipe, given, true)
		u.node(n.List, given)
		u.node(n.ElseList, given)
	case *parse.IfNode:
		u.branch(&n.BranchNode, given)
	case *parse.WithNode:
		u.branch(&n.BranchNode, given)
	}
}

func (u fieldUse) branch(n *parse.BranchNode, given []string) {
	condition := fieldUse{}
	condition.pipe(n.Pipe, nil, false)
	given = slices.Clone(given)
	for field := range condition {
		given = append(given, field)
	}
	u.merge(condition)
	u.node(n.List, given)
	u.node(n.ElseList, given)
}

func (u fieldUse) pipe(n *parse.PipeNode, given []string, needed bool) {
	if n == nil {
		return
	}
	for _, command := range n.Cmds {
		needs := needed
		if f, ok := command.Args[0].(*parse.IdentifierNode); ok && slices.Contains([]string{"or", "and", "not"}, f.Ident) {
			needs = false
		}
		for _, arg := range command.Args {
			u.argument(arg, given, needs)
		}
	}
}

func (u fieldUse) argument(n parse.Node, given []string, needed bool) {
	field := ""
	switch n := n.(type) {
	case *parse.FieldNode: // .first
		field = n.Ident[0]
	case *parse.VariableNode: // $.first
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			field = n.Ident[1]
		}
	case *parse.PipeNode: // (...)
		u.pipe(n, given, needed)
	}
	if field != "" {
		u.mark(field, needed && !slices.Contains(given, field))
	}
}

// checkFields compares what the templates use with what the list has.
func (l *list) checkFields(used map[string]fieldUse) error {
	var p problems
	for _, source := range sortedKeys(used) {
		for _, field := range sortedKeys(used[source]) {
			c := slices.Index(l.columns, field)
			if c < 0 {
				p.add("%s uses {{.%s}}, but %s has no such column, it has: %s", source, field, l.name, strings.Join(l.columns, ", "))
				continue
			}
			if used[source][field] {
				l.checkFilled(&p, c, source)
			}
		}
	}
	return p.err()
}

// checkFilled wants a value in each cell of a column.
func (l *list) checkFilled(p *problems, column int, source string) {
	for i, cells := range l.rows {
		if strings.TrimSpace(cells[column]) == "" {
			name := l.columns[column]
			p.add(`%s: row %d (%s): %s is empty, but %s needs it: fill it in, or write {{or .%s "..."}} or {{if .%s}}...{{end}} there`,
				l.name, l.number(i), l.address(i), name, source, name, name)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
