package mx

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// maxSite is the length from which the name of a set of hosts is shortened.
const maxSite = 128

// siteName names a set of host names. Names hold letters, digits, dots, hyphens
// and underscores only, so the set can be read back from the unshortened form:
// no two sets have the same.
func siteName(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 1 {
		return names[0]
	}
	site := factored(names)
	if len(site) <= maxSite {
		return site
	}
	sum := sha256.Sum256([]byte(site))
	return names[0] + "+" + strconv.Itoa(len(names)-1) + "~" + hex.EncodeToString(sum[:8])
}

// factored writes at least two sorted names with their common suffix only once.
func factored(names []string) string {
	suffix := commonSuffix(names)
	if !strings.Contains(suffix, ".") { // a top-level domain alone says nothing
		return "(" + strings.Join(names, "|") + ")"
	}
	var b strings.Builder
	itself := ""
	for _, name := range names {
		if name == suffix {
			itself = "?"
			continue
		}
		b.WriteByte('|')
		b.WriteString(strings.TrimSuffix(name, "."+suffix))
	}
	return "(" + b.String()[1:] + ")" + itself + "." + suffix
}

// commonSuffix returns the labels in which all names end.
func commonSuffix(names []string) string {
	suffix := names[0]
	for _, name := range names[1:] {
		for suffix != "" && name != suffix && !strings.HasSuffix(name, "."+suffix) {
			_, suffix, _ = strings.Cut(suffix, ".")
		}
	}
	return suffix
}
