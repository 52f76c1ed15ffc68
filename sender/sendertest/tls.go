package sendertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"time"
)

// certs is the certificate authority of a Sandbox. Everything is made when it
// is first needed.
type certs struct {
	mu    sync.Mutex
	key   *ecdsa.PrivateKey      // guarded by mu; one key for all
	root  *x509.Certificate      // guarded by mu
	hosts map[string]*tls.Config // guarded by mu; by name of the host
}

// The certificates hold at any time, also at midnight of 2000-01-01, at which a
// synctest bubble begins.
var (
	notBefore = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC)
)

// init makes the root. Call with mu held.
func (c *certs) init() error {
	if c.root != nil {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "sendertest root"},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	c.root, err = x509.ParseCertificate(der)
	c.key, c.hosts = key, make(map[string]*tls.Config)
	return err
}

// config returns the server's configuration for a host.
func (c *certs) config(h *Host) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.init(); err != nil {
		return nil, err
	}
	if cfg := c.hosts[h.name]; cfg != nil {
		return cfg, nil
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(c.hosts) + 2)),
		Subject:      pkix.Name{CommonName: h.name},
		DNSNames:     []string{h.name},
		NotBefore:    notBefore,
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.root, &c.key.PublicKey, c.key)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: c.key}}}
	c.hosts[h.name] = cfg
	return cfg, nil
}

// CertPool returns the authority that signed the certificates of all hosts, for
// clients that verify them. Each host's certificate is for its name.
func (s *Sandbox) CertPool() (*x509.CertPool, error) {
	s.certs.mu.Lock()
	defer s.certs.mu.Unlock()
	if err := s.certs.init(); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(s.certs.root)
	return pool, nil
}
