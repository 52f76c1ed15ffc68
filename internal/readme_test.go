package internal

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// goBlock is a block of Go in Markdown.
var goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// TestReadmePrograms compiles every program in README.md.
func TestReadmePrograms(t *testing.T) {
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	programs := 0
	for _, block := range goBlock.FindAllSubmatch(readme, -1) {
		source := string(block[1])
		if !strings.Contains(source, "package main\n") {
			continue
		}
		programs++
		number := programs
		t.Run(fmt.Sprint(number), func(t *testing.T) {
			t.Parallel()
			compile(t, root, number, source)
		})
	}
	require.Positive(t, programs)
}

// compile builds a program as if it stood in a folder of the module.
func compile(t *testing.T, root string, number int, source string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(file, []byte(source), 0o600))
	pkg := fmt.Sprintf("readme%d", number)
	overlay, err := json.Marshal(map[string]any{
		"Replace": map[string]string{filepath.Join(root, "examples", pkg, "main.go"): file},
	})
	require.NoError(t, err)
	overlayFile := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(overlayFile, overlay, 0o600))
	cmd := exec.Command("go", "build", "-overlay", overlayFile, "-o", filepath.Join(dir, "program"), "./examples/"+pkg)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
