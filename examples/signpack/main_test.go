package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender/livepack"
)

func TestDemo(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, demo(&out))
	for _, want := range []string{"# volley-signature: ed25519 ", "adopted 2999-01-01.1", "refused", "rolled back"} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), "mx.example.net: 9")
}

func TestSign(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	key := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))

	var out bytes.Buffer
	require.NoError(t, sign(key, "profiles", strings.NewReader(demoPack), &out))
	body, err := livepack.Verify(out.Bytes(), public)
	require.NoError(t, err)
	require.Equal(t, demoPack, string(body))

	require.ErrorContains(t, sign(key, "profiles", strings.NewReader("version = 1"), &out), "version")
	require.ErrorContains(t, sign(key, "songs", strings.NewReader(demoPack), &out), "use profiles or rules")
	require.ErrorIs(t, sign(key+".not", "profiles", strings.NewReader(demoPack), &out), os.ErrNotExist)
}
