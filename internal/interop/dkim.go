//go:build unix

package interop

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"
)

//go:embed verify.py
var verifier string

// Signature is what dkimpy thinks of one DKIM-Signature field.
type Signature struct {
	Domain, Selector string
	Valid            bool
	Error            string // why it could not be verified, if dkimpy said so
}

// VerifyDKIM verifies every signature of a message by dkimpy, topmost first.
// Records are the TXT records that its look-ups find, by name, such as
// "sel._domainkey.example.com". The Python that has dkimpy is named by
// VOLLEY_PYTHON, default /usr/bin/python3.
func VerifyDKIM(t testing.TB, raw []byte, records map[string]string) []Signature {
	t.Helper()
	python := os.Getenv("VOLLEY_PYTHON")
	if python == "" {
		python = "/usr/bin/python3"
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := exec.CommandContext(ctx, python, "-c", "import dkim, nacl").Run(); err != nil {
		Require(t, "Python with dkimpy and PyNaCl")
	}
	input, err := json.Marshal(map[string]any{"message": raw, "records": records})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, python, "-c", verifier)
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("dkimpy: %v\n%s", err, stderr.Bytes())
	}
	var found []Signature
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatalf("dkimpy: %v\n%s", err, out)
	}
	return found
}
