package mx

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func writeConf(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestResolvConf(t *testing.T) {
	path := writeConf(t, "search example.com\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver nonsense\noptions timeout:3 attempts:4 rotate\n")
	cfg, err := Config{}.withDefaults(path)
	require.NoError(t, err)
	require.Equal(t, []string{"192.0.2.53:53", "[fe80::1%eth0]:53"}, cfg.Servers)
	require.Equal(t, 3*time.Second, cfg.Timeout)
	require.Equal(t, 4, cfg.Attempts)

	cfg, err = Config{Timeout: time.Second, Attempts: 1}.withDefaults(path)
	require.NoError(t, err)
	require.Equal(t, time.Second, cfg.Timeout)
	require.Equal(t, 1, cfg.Attempts)

	cfg, err = Config{Servers: []string{"127.0.0.1:5353", "::1", "dns.example:53"}}.withDefaults(path)
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.1:5353", "[::1]:53", "dns.example:53"}, cfg.Servers)
	require.Equal(t, 5*time.Second, cfg.Timeout)
	require.Equal(t, 2, cfg.Attempts)

	_, err = Config{}.withDefaults(writeConf(t, "search example.com\n"))
	require.ErrorContains(t, err, "no DNS server known, set Config.Servers")
	_, err = Config{}.withDefaults(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "set Config.Servers")

	cfg, err = Config{}.withDefaults(writeConf(t, "nameserver 192.0.2.53\noptions timeout:99999999 attempts:99999999\n"))
	require.NoError(t, err)
	require.Equal(t, 30*time.Second, cfg.Timeout)
	require.Equal(t, 5, cfg.Attempts)
}

func TestMistakesAreReportedTogether(t *testing.T) {
	_, err := New(Config{
		Servers:        []string{"dns.example", "192.0.2.53:99999", ":53"},
		Timeout:        -1,
		Attempts:       -1,
		MinTTL:         48 * time.Hour,
		MaxNegativeTTL: -1,
		FailureTTL:     time.Hour,
		CacheSize:      -1,
		Self:           []string{"ok.example", "not ok"},
		Family:         9,
	})
	require.Error(t, err)
	for _, want := range []string{
		`"dns.example" is not host:port`, `"192.0.2.53:99999"`, `":53"`, "Timeout", "Attempts",
		"MinTTL 48h0m0s is over MaxTTL 24h0m0s", "MaxNegativeTTL", "FailureTTL is over 5 minutes", "CacheSize",
		`Self: "not ok"`, "Family",
	} {
		require.ErrorContains(t, err, want)
	}
	require.Equal(t, 11, len(strings.Split(err.Error(), "\n")))
}

func TestConfigIsNotKept(t *testing.T) {
	cfg := Config{Servers: []string{"192.0.2.53"}}
	d, err := New(cfg)
	require.NoError(t, err)
	require.Equal(t, []string{"192.0.2.53"}, cfg.Servers)
	cfg.Servers[0] = "192.0.2.99"
	require.Equal(t, []string{"192.0.2.53:53"}, d.client.servers)
}
