package smtp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	emersion "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/volleymail/volley/bounce"
)

// backend is what stands behind go-smtp's server.
type backend struct {
	mu   sync.Mutex
	mail []string // guarded by mu: "from to,to\nmessage"
	user string   // guarded by mu: who logged in
}

type backendSession struct {
	b    *backend
	from string
	to   []string
}

func (b *backend) NewSession(*emersion.Conn) (emersion.Session, error) {
	return &backendSession{b: b}, nil
}
func (s *backendSession) Mail(from string, _ *emersion.MailOptions) error { s.from = from; return nil }
func (s *backendSession) Rcpt(to string, _ *emersion.RcptOptions) error {
	if strings.HasPrefix(to, "no") {
		return &emersion.SMTPError{Code: 550, EnhancedCode: emersion.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.to = append(s.to, to)
	return nil
}
func (s *backendSession) Data(r io.Reader) error {
	all, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.mail = append(s.b.mail, s.from+" "+strings.Join(s.to, ",")+"\n"+string(all))
	return nil
}
func (s *backendSession) Reset()                   { s.from, s.to = "", nil }
func (s *backendSession) Logout() error            { return nil }
func (s *backendSession) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s *backendSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		s.b.mu.Lock()
		defer s.b.mu.Unlock()
		s.b.user = user
		if password != "secret" {
			return errors.New("who are you")
		}
		return nil
	}), nil
}

// certificate is one for example.com, and the pool that trusts it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	return &tls.Config{Certificates: web.TLS.Certificates}, roots
}

// listen starts go-smtp's server on loopback.
func listen(t *testing.T, b *backend, config *tls.Config, implicit bool) (dial func() net.Conn) {
	server := emersion.NewServer(b)
	server.Domain, server.TLSConfig = "mx.example", config
	server.EnableSMTPUTF8, server.EnableDSN = true, true
	server.ErrorLog = quiet{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	if implicit {
		l = tls.NewListener(l, config)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		return conn
	}
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// Everything that a message can be arrives octet for octet at a server that
// nobody here wrote, in every form, in clear and under TLS.
func TestInterop(t *testing.T) {
	config, _ := certificate(t)
	text := "Subject: x\r\n\r\n.\r\n..\r\n.x\r\nfrom\r\n\r\n" + strings.Repeat("caf\xc3\xa9 "+strings.Repeat("y", 70)+"\r\n", 2000) + ".\r\n"
	for _, mode := range []TLSMode{TLSNone, TLSRequired} {
		for _, mem := range []Memory{{}, {Form: FormSerial}, {Form: FormSerial, Settled: true}, {Form: FormGrouped, Settled: true}, {Form: FormChained}, {Form: FormChained, NoBDAT: true}, {NoBDAT: true}} {
			b := &backend{}
			conn := listen(t, b, config, false)()
			o := options()
			o.TLS, o.Memory = mode, mem
			var txs []*Transaction
			var want []string
			for i := range 3 {
				txs = append(txs, message(text, "x@e.example", "no@e.example", "y@e.example"), message(text, "no@e.example"))
				if i == 1 { // no room behind the message
					txs[2].Body.Buf = slices.Clip(txs[2].Body.Buf)
				}
				want = append(want, "a@client.example x@e.example,y@e.example\n"+text)
			}
			s, err := run(t, conn, o, txs...)
			require.NoError(t, err)
			assert.Equal(t, mode == TLSRequired, s.TLS() != nil)
			s.Quit(context.Background())
			for i, tx := range txs {
				assert.Equal(t, []string{"sent, refused 550 rcpt, sent", "refused 550 rcpt"}[i%2], fates(tx))
			}
			assert.Equal(t, want, b.mail, "%v", mem)
		}
	}
}

func TestTLS(t *testing.T) {
	config, roots := certificate(t)
	old := config.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	trusted := &tls.Config{RootCAs: roots}
	tests := []struct {
		name   string
		server *tls.Config
		mode   TLSMode
		host   string
		client *tls.Config
		fails  bool
	}{
		{"opportunistic, any certificate", config, TLSOpportunistic, "mx.example", nil, false},
		{"required, any certificate", config, TLSRequired, "mx.example", nil, false},
		{"verified", config, TLSVerify, "example.com", trusted, false},
		{"verified, name with a dot", config, TLSVerify, "example.com.", trusted, false},
		{"verified, other name", config, TLSVerify, "mx.example", trusted, true},
		{"verified, name of the configuration", config, TLSVerify, "mx.example", &tls.Config{RootCAs: roots, ServerName: "example.com"}, false},
		{"verified, not trusted", config, TLSVerify, "example.com", nil, true},
		{"TLS 1.1", old, TLSOpportunistic, "mx.example", nil, true},
		{"TLS 1.1 though the configuration allows it", old, TLSOpportunistic, "mx.example", &tls.Config{MinVersion: tls.VersionTLS10}, true},
		{"implicit", config, TLSImplicit, "example.com", trusted, false},
		{"implicit, not trusted", config, TLSImplicit, "example.com", nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := listen(t, &backend{}, tt.server, tt.mode == TLSImplicit)()
			o := options()
			o.Host, o.TLS, o.TLSConfig = tt.host, tt.mode, tt.client
			s, err := Open(context.Background(), conn, o)
			if tt.fails {
				e, ok := errors.AsType[*Error](err)
				require.True(t, ok, "%v", err)
				assert.Equal(t, bounce.StageTLS, e.Stage)
				assert.Equal(t, statusCrypto, e.Reply.Status)
				_, err = conn.Write(nil)
				assert.ErrorIs(t, err, net.ErrClosed)
				return
			}
			require.NoError(t, err)
			require.NotNil(t, s.TLS())
			assert.GreaterOrEqual(t, s.TLS().Version, uint16(tls.VersionTLS12))
			assert.True(t, s.Alive())
			s.Quit(context.Background())
		})
	}
}

// The second connection to a server needs no full handshake, but trust is not
// passed on from one configuration to the other.
func TestTLSResumes(t *testing.T) {
	config, roots := certificate(t)
	dial := listen(t, &backend{}, config, false)
	open := func(mode TLSMode, base *tls.Config) (*Session, error) {
		o := options()
		o.Host, o.TLS, o.TLSConfig = "example.com", mode, base
		return Open(context.Background(), dial(), o)
	}
	for i := range 2 {
		s, err := open(TLSOpportunistic, nil)
		require.NoError(t, err)
		assert.Equal(t, i == 1, s.TLS().DidResume)
		s.Quit(context.Background())
	}
	s, err := open(TLSVerify, &tls.Config{RootCAs: roots})
	require.NoError(t, err)
	assert.False(t, s.TLS().DidResume)
	s.Quit(context.Background())
	_, err = open(TLSVerify, nil)
	require.Error(t, err)
}

func TestAuth(t *testing.T) {
	config, _ := certificate(t)
	b := &backend{}
	dial := listen(t, b, config, false)
	for _, tt := range []struct {
		mode     TLSMode
		password string
		fails    string
	}{
		{TLSRequired, "secret", ""},
		{TLSRequired, "wrong", "mx.example: auth: 454 4.7.0 who are you"},
		{TLSOpportunistic, "secret", "mx.example: auth: 4.7.0 unencrypted connection"},
	} {
		o := options()
		o.TLS = tt.mode
		o.Auth = func(offered string) (gosmtp.Auth, error) {
			assert.Equal(t, "PLAIN", offered)
			return gosmtp.PlainAuth("", "me", tt.password, "mx.example", false), nil
		}
		s, err := Open(context.Background(), dial(), o)
		if tt.fails != "" {
			require.EqualError(t, err, tt.fails)
			continue
		}
		require.NoError(t, err)
		s.Quit(context.Background())
		assert.Equal(t, "me", b.user)
	}
	o := options()
	o.TLS = TLSRequired
	stop := errors.New("no key")
	o.Auth = func(string) (gosmtp.Auth, error) { return nil, stop }
	_, err := Open(context.Background(), dial(), o)
	require.ErrorIs(t, err, stop)
}

// On a socket, looking whether a session is alive costs no wait.
func TestAliveOnSocket(t *testing.T) {
	dial := listen(t, &backend{}, nil, false)
	s, err := Open(context.Background(), dial(), options())
	require.NoError(t, err)
	for range 100 {
		require.True(t, s.Alive())
	}
	s.Quit(context.Background())
	require.False(t, s.Alive())

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	server, err := l.Accept()
	require.NoError(t, err)
	_, err = server.Write([]byte("220 mx\r\n250 ok\r\n"))
	require.NoError(t, err)
	_, err = Open(context.Background(), conn, options())
	require.ErrorIs(t, err, ErrUnsolicited)
	require.NoError(t, server.Close())
}

// Cut is safe at any time from any goroutine.
func TestCutRaces(t *testing.T) {
	b := &backend{}
	dial := listen(t, b, nil, false)
	for i := range 50 {
		s, err := Open(context.Background(), dial(), options())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { s.Cut(time.Duration(i) * time.Microsecond) })
		wg.Go(cancel)
		q := &queue{todo: []*Transaction{message(text1, "x@e.example"), message(text1, "y@e.example")}}
		err = s.Run(ctx, q.next, q.done)
		require.Zero(t, q.out)
		if err != nil {
			require.True(t, errors.Is(err, ErrCut) || errors.Is(err, context.Canceled), "%v", err)
		}
		wg.Wait()
		s.Quit(context.Background())
	}
}
