package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// table is text in columns: the first column and those in left begin at the
// left, numbers end at the right.
type table struct {
	head []string
	left map[int]bool
	rows [][]string
}

func newTable(left []int, head ...string) *table {
	t := &table{head: head, left: map[int]bool{0: true}}
	for _, c := range left {
		t.left[c] = true
	}
	return t
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// lines lays the table out. Columns are at least as wide as least says, so that
// a display that is drawn again does not jump.
func (t *table) lines(least ...int) []string {
	width := make([]int, len(t.head))
	copy(width, least)
	all := append([][]string{t.head}, t.rows...)
	for _, cells := range all {
		for c, text := range cells {
			width[c] = max(width[c], utf8.RuneCountInString(text))
		}
	}
	lines := make([]string, 0, len(all))
	for _, cells := range all {
		var b strings.Builder
		for c, text := range cells {
			pad := strings.Repeat(" ", width[c]-utf8.RuneCountInString(text))
			if t.left[c] {
				b.WriteString(text + pad)
			} else {
				b.WriteString(pad + text)
			}
			b.WriteString("  ")
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}

// count writes a number with commas; nothing for 0, which in a table is noise.
func count(n int) string {
	if n == 0 {
		return ""
	}
	return number(n)
}

// number writes a number with commas.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// cut shortens a text to n characters.
func cut(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

// perSecond writes a rate.
func perSecond(r float64) string {
	switch {
	case r <= 0:
		return ""
	case r < 10:
		return fmt.Sprintf("%.1f/s", r)
	default:
		return fmt.Sprintf("%.0f/s", r)
	}
}
