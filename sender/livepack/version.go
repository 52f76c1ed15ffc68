package livepack

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// version is a pack's version: whole numbers with "." or "-" between, such as
// "17" or "2026-11-21.1", compared number by number from the left.
type version struct {
	text    string
	numbers []uint64
}

const maxVersion = 64 // bytes

func parseVersion(text string) (version, error) {
	v := version{text: text}
	if len(text) > maxVersion {
		return version{}, fmt.Errorf("version is longer than %d bytes", maxVersion)
	}
	for field := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '.' || r == '-' }) {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return version{}, fmt.Errorf("version %q: want numbers with a dot or hyphen between", text)
		}
		v.numbers = append(v.numbers, n)
	}
	if len(v.numbers) == 0 {
		return version{}, fmt.Errorf("version %q: no number", text)
	}
	return v, nil
}

func (v version) compare(w version) int {
	for i := range max(len(v.numbers), len(w.numbers)) {
		if c := cmp.Compare(at(v.numbers, i), at(w.numbers, i)); c != 0 {
			return c
		}
	}
	return 0
}

func at(numbers []uint64, i int) uint64 {
	if i < len(numbers) {
		return numbers[i]
	}
	return 0
}
