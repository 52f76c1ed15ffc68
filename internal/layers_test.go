package internal

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/volleymail/volley"

// public are the packages made for the programs of users.
var public = []string{"mx", "throttle", "dkim", "bounce", "sender"}

// layers says, for each folder of the module, which other folders its packages
// may import; within a folder they may import each other. The longest name that
// fits a package counts, so a folder can have stricter rules than its parent.
// Tests are free. A package that no rule covers fails the test.
var layers = map[string][]string{
	"mx":                nil,
	"throttle":          nil,
	"dkim":              nil,
	"bounce":            nil,
	"internal/smtp":     {"bounce"},
	"internal/notice":   {"bounce"},
	"sender":            {"mx", "throttle", "dkim", "bounce", "internal/smtp", "internal/notice"},
	"sender/letter":     nil,
	"sender/admin":      {"sender", "bounce"},
	"examples":          public,
	"examples/campaign": append([]string{"sender/spool"}, public...),
	"internal/interop":  nil,
	"internal/bench":    append([]string{"internal/smtp"}, public...),
}

// apart are modules of their own within this tree. In the workspace every
// package could import them; only those may whose layer names them, which must
// be modules of their own, too.
var apart = []string{"bounce/suppress/sqltest", "sender/spool"}

// modules are those that the module may need directly: an importer of any of
// its packages gets no other. What is heavy is a module of its own.
var modules = []string{
	"github.com/BurntSushi/toml",
	"github.com/emersion/go-message",
	"github.com/emersion/go-msgauth",
	"github.com/emersion/go-sasl",
	"github.com/miekg/dns",
	"github.com/wneessen/go-mail",
	"golang.org/x/crypto",
	"golang.org/x/net",
	"golang.org/x/sync",
	"golang.org/x/sys",
	"golang.org/x/text",
	"golang.org/x/time",
}

// testModules are for tests and for the folders named here only.
var testModules = map[string][]string{
	"github.com/emersion/go-smtp": {"sender/sendertest", "examples"},
	"github.com/stretchr/testify": nil,
	"go.uber.org/goleak":          nil,
}

// within reports whether the package or folder p is dir or below it.
func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir+"/")
}

// layerOf returns the longest folder of layers that pkg is within, or "".
func layerOf(pkg string) string {
	found := ""
	for dir := range layers {
		if within(pkg, dir) && len(dir) > len(found) {
			found = dir
		}
	}
	return found
}

// importProblem says what is wrong with pkg (a folder of the module) importing
// imp, or "".
func importProblem(pkg, imp string, test bool) string {
	if imp == module || strings.HasPrefix(imp, module+"/") {
		if test {
			return ""
		}
		return ownProblem(pkg, strings.TrimPrefix(strings.TrimPrefix(imp, module), "/"))
	}
	first, _, _ := strings.Cut(imp, "/")
	if !strings.Contains(first, ".") {
		return "" // the standard library
	}
	for _, m := range modules {
		if within(imp, m) {
			return ""
		}
	}
	for m, users := range testModules {
		if !within(imp, m) {
			continue
		}
		if test {
			return ""
		}
		for _, user := range users {
			if within(pkg, user) {
				return ""
			}
		}
		return "is for tests only"
	}
	return "is of a module that the root module must not need"
}

// ownProblem is importProblem for imports within the module.
func ownProblem(pkg, imp string) string {
	layer := layerOf(pkg)
	if layer == "" {
		return "no rule covers the importing package: add one to layers"
	}
	for _, a := range apart {
		if within(imp, a) && !within(pkg, a) && !slices.Contains(layers[layer], a) {
			return "is of a module of its own, which the layer " + layer + " does not name"
		}
	}
	for _, allowed := range append([]string{layer}, layers[layer]...) {
		if within(imp, allowed) {
			return ""
		}
	}
	return "the layer " + layer + " may not import it"
}

// TestLayers keeps the imports one way.
func TestLayers(t *testing.T) {
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	files := 0
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(root, name, d.Name())
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		files++
		dir, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		checkFile(t, name, filepath.ToSlash(dir))
		return nil
	})
	require.NoError(t, err)
	require.Positive(t, files)
}

// skipDir skips what is no package of this module. An example may be a module of
// its own: it is an example all the same.
func skipDir(root, name, base string) error {
	if name == root {
		return nil
	}
	if base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return filepath.SkipDir
	}
	_, err := os.Stat(filepath.Join(name, "go.mod"))
	if err == nil && filepath.Base(filepath.Dir(name)) != "examples" {
		return filepath.SkipDir
	}
	return nil
}

// checkFile checks the imports of one file of the package pkg.
func checkFile(t *testing.T, name, pkg string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	require.NoError(t, err)
	for _, spec := range f.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		if problem := importProblem(pkg, imp, strings.HasSuffix(name, "_test.go")); problem != "" {
			t.Errorf("%s/%s imports %s: %s", pkg, filepath.Base(name), imp, problem)
		}
	}
}

// TestImportProblem shows that the rules bite.
func TestImportProblem(t *testing.T) {
	for _, tt := range []struct {
		pkg, imp string
		test, ok bool
	}{
		{pkg: "mx", imp: "net/netip", ok: true},
		{pkg: "mx", imp: "github.com/miekg/dns", ok: true},
		{pkg: "mx/mtasts", imp: module + "/mx", ok: true},
		{pkg: "mx", imp: module + "/bounce"},
		{pkg: "mx", imp: module + "/bounce", test: true, ok: true},
		{pkg: "bounce", imp: module + "/internal/smtp"},
		{pkg: "dkim", imp: module + "/sender"},
		{pkg: "throttle", imp: module + "/mx"},
		{pkg: "internal/smtp", imp: module + "/bounce", ok: true},
		{pkg: "internal/smtp", imp: module + "/throttle"},
		{pkg: "internal/notice", imp: module + "/bounce", ok: true},
		{pkg: "internal/notice", imp: module + "/internal/smtp"},
		{pkg: "sender", imp: module + "/internal/smtp", ok: true},
		{pkg: "sender", imp: module + "/examples/campaign"},
		{pkg: "sender/sendertest", imp: module + "/sender", ok: true},
		{pkg: "sender/letter", imp: module + "/sender"},
		{pkg: "sender/admin", imp: module + "/sender", ok: true},
		{pkg: "examples/campaign", imp: module + "/sender/sendertest", ok: true},
		{pkg: "examples/campaign", imp: module + "/internal/smtp"},
		{pkg: "examples/campaign", imp: module + "/sender/spool", ok: true},
		{pkg: "examples/first", imp: module + "/sender/spool"},
		{pkg: "sender", imp: module + "/sender/spool"},
		{pkg: "sender/admin", imp: module + "/sender/spool"},
		{pkg: "bounce/suppress", imp: module + "/bounce/suppress/sqltest"},
		{pkg: "elsewhere", imp: module + "/mx"},
		{pkg: "sender", imp: "github.com/stretchr/testify/require"},
		{pkg: "sender", imp: "github.com/stretchr/testify/require", test: true, ok: true},
		{pkg: "sender", imp: "github.com/emersion/go-smtp"},
		{pkg: "sender/sendertest", imp: "github.com/emersion/go-smtp", ok: true},
		{pkg: "sender/sendertest", imp: "github.com/stretchr/testify/require"},
		{pkg: "sender", imp: "github.com/redis/go-redis/v9"},
		{pkg: "sender", imp: "github.com/redis/go-redis/v9", test: true},
		{pkg: "sender", imp: "github.com/wneessen/go-mailbox"},
	} {
		problem := importProblem(tt.pkg, tt.imp, tt.test)
		require.Equal(t, tt.ok, problem == "", "%s imports %s (test %v): %q", tt.pkg, tt.imp, tt.test, problem)
	}
}
