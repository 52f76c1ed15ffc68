package smtp

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/volleymail/volley/bounce"
)

func TestOpen(t *testing.T) {
	plain := func(o *Options) {
		o.Auth = func(string) (gosmtp.Auth, error) {
			return gosmtp.PlainAuth("", "me", "secret", "mx.example", false), nil
		}
	}
	loud := func(o *Options) { // in clear, by the user's wish
		o.Auth = func(string) (gosmtp.Auth, error) {
			return gosmtp.PlainAuth("", "me", "secret", "mx.example", true), nil
		}
	}
	required := func(o *Options) { o.TLS = TLSRequired }
	tests := []struct {
		name   string
		script transcript
		set    func(*Options)
		fails  string       // text of the error, "" = none
		is     error        // what it wraps
		ext    *extensions  // what is learnt
		stage  bounce.Stage // of the error
	}{
		{name: "plain", script: hello() + "eof", ext: &extensions{}},
		{
			name:   "greeting of many lines",
			script: "S: 220-mx.example\nS: 220-no spam\nS: 220 \nC: EHLO client.example\nS: 250 hi\neof",
			ext:    &extensions{},
		},
		{
			name:   "extensions, in any case",
			script: hello("Pipelining", "chunking", "8bitmime", "SMTPutf8", "dsn", "size 1000", "auth=login plain", "AUTH PLAIN cram-md5", "limits RCPTMAX=20 mailmax=5 RCPTDOMAINMAX=1 x", "X-UNKNOWN 1") + "eof",
			ext: &extensions{pipelining: true, chunking: true, eightBit: true, utf8: true, dsn: true, size: true,
				maxSize: 1000, mailMax: 5, rcptMax: 20, authList: "LOGIN PLAIN CRAM-MD5"},
		},
		{
			name:   "nonsense in extensions",
			script: hello("SIZE -5", "LIMITS RCPTMAX=99999999999999999999 MAILMAX=x", "") + "eof",
			ext:    &extensions{size: true},
		},
		{
			name:   "greeting 554: QUIT",
			script: "S: 554-no\nS: 554 5.7.1 service\nC: QUIT\neof",
			fails:  "mx.example: greeting: 554 5.7.1 no service",
		},
		{name: "greeting 421", script: "S: 421 busy\nC: QUIT\neof", fails: "mx.example: greeting: 421 busy"},
		{name: "greeting 250", script: "S: 250 hi\neof", fails: "mx.example: greeting: 250 hi: server breaks the protocol", is: ErrProtocol},
		{name: "no SMTP", script: "S: SSH-2.0-x\neof", fails: `mx.example: greeting: 4.5.0 server breaks the protocol: "SSH-2.0-x" is no reply`, is: ErrProtocol},
		{name: "server closes", script: "R: 220 mx\nclose", fails: "mx.example: greeting: 4.4.2 server closed the connection"},
		{
			name:   "server talks before its turn",
			script: "S: 220 mx\nS: 250 hi\neof",
			fails:  "mx.example: hello: 4.5.0 server speaks out of turn", is: ErrUnsolicited,
		},
		{
			name:   "server never greets",
			script: "sleep 5m\neof",
			fails:  "mx.example: greeting: 4.4.2 no answer in time", is: os.ErrDeadlineExceeded,
		},
		{
			name:   "server greets an octet a minute",
			script: "R: 2\nsleep 1m\nR: 2\nsleep 1m\nR: 0\nsleep 1m\nR: -\nsleep 1m\nR: x\nsleep 61s\nR: y\neof",
			fails:  "mx.example: greeting: 4.4.2 no answer in time", is: os.ErrDeadlineExceeded,
		},
		{
			name:   "HELO if EHLO is not known",
			script: "S: 220 mx\nC: EHLO client.example\nS: 502 what\nC: HELO client.example\nS: 250-hi\nS: 250 PIPELINING\neof",
			ext:    &extensions{},
		},
		{
			name:   "both refused",
			script: "S: 220 mx\nC: EHLO client.example\nS: 502 what\nC: HELO client.example\nS: 550 who\nC: QUIT\neof",
			fails:  "mx.example: hello: 550 who",
		},
		{
			name:   "no HELO after 421",
			script: "S: 220 mx\nC: EHLO client.example\nS: 421 4.3.2 bye\nC: QUIT\neof",
			fails:  "mx.example: hello: 421 4.3.2 bye",
		},
		{
			name:   "no HELO after 4yz",
			script: "S: 220 mx\nC: EHLO client.example\nS: 450 later\nC: QUIT\neof",
			fails:  "mx.example: hello: 450 later",
		},
		{
			name:   "STARTTLS demanded and not offered",
			script: hello("PIPELINING") + "C: QUIT\neof", set: required,
			fails: "mx.example: tls: 4.7.10 STARTTLS is demanded and not offered", is: ErrNoSTARTTLS, stage: bounce.StageTLS,
		},
		{
			name:   "STARTTLS refused",
			script: hello("starttls") + "C: STARTTLS\nS: 454 4.7.0 no certificate\nC: QUIT\neof",
			fails:  "mx.example: tls: 454 4.7.0 no certificate", stage: bounce.StageTLS,
		},
		{
			name:   "no STARTTLS where it is known to be broken",
			script: hello("STARTTLS") + "eof", set: func(o *Options) { o.Memory.NoTLS = true },
		},
		{
			name:   "no STARTTLS where it is not wanted",
			script: hello("STARTTLS") + "eof", set: func(o *Options) { o.TLS = TLSNone },
		},
		{
			name:   "replies in clear behind the STARTTLS reply",
			script: hello("STARTTLS") + "C: STARTTLS\nS: 220 go\nS: 250 injected\neof",
			fails:  "mx.example: tls: 4.5.0 server speaks out of turn", is: ErrUnsolicited, stage: bounce.StageTLS,
		},
		{
			name:   "handshake broken off",
			script: hello("STARTTLS") + "C: STARTTLS\nS: 220 go\nsleep 1s\nclose",
			fails:  "mx.example: tls: 4.7.5 server closed the connection", stage: bounce.StageTLS,
		},
		{
			name:   "AUTH",
			script: hello("AUTH PLAIN") + "C: AUTH PLAIN AG1lAHNlY3JldA==\nS: 235 welcome\neof", set: loud,
		},
		{
			name:   "AUTH refused",
			script: hello("AUTH PLAIN") + "C: AUTH PLAIN AG1lAHNlY3JldA==\nS: 535 5.7.8 who\nC: QUIT\neof", set: loud,
			fails: "mx.example: auth: 535 5.7.8 who", stage: bounce.StageAuth,
		},
		{
			name:   "AUTH answered by nonsense",
			script: hello("AUTH PLAIN") + "C: AUTH PLAIN AG1lAHNlY3JldA==\nS: 250 ok\neof", set: loud,
			fails: "mx.example: auth: 250 ok: server breaks the protocol", is: ErrProtocol, stage: bounce.StageAuth,
		},
		{
			name:   "AUTH challenged out of turn",
			script: hello("AUTH PLAIN") + "C: AUTH PLAIN AG1lAHNlY3JldA==\nS: 334 \nC: *\nS: 501 ok\neof", set: loud,
			fails: "mx.example: auth: 4.7.0 unexpected server challenge", is: gosmtp.ErrUnexpectedServerChallange, stage: bounce.StageAuth,
		},
		{
			name:   "AUTH not offered",
			script: hello() + "C: QUIT\neof", set: loud,
			fails: "mx.example: auth: 4.7.0 AUTH is demanded and not offered", is: ErrNoAuth, stage: bounce.StageAuth,
		},
		{
			name:   "no password in clear",
			script: hello("AUTH PLAIN") + "eof", set: plain,
			fails: "mx.example: auth: 4.7.0 unencrypted connection", is: gosmtp.ErrUnencrypted, stage: bounce.StageAuth,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, tt.script, func(conn net.Conn) {
				o := options()
				if tt.set != nil {
					tt.set(o)
				}
				s, err := Open(context.Background(), conn, o)
				if tt.fails == "" {
					require.NoError(t, err)
					if tt.ext != nil {
						assert.Equal(t, *tt.ext, s.ext)
						assert.Equal(t, tt.ext.mailMax, s.MaxMessages())
						assert.Equal(t, tt.ext.rcptMax, s.MaxRcpts())
					}
					assert.Nil(t, s.TLS())
					assert.NoError(t, s.Close())
					assert.NoError(t, s.Close())
					return
				}
				require.EqualError(t, err, tt.fails)
				e, ok := errors.AsType[*Error](err)
				require.True(t, ok)
				assert.Equal(t, e.Stage, e.Reply.Stage)
				if tt.stage != bounce.StageNone {
					assert.Equal(t, tt.stage, e.Stage)
				}
				if tt.is != nil {
					assert.ErrorIs(t, err, tt.is)
				}
				_, err = conn.Write([]byte("x"))
				assert.ErrorIs(t, err, net.ErrClosed, "Open closes on error")
			})
		})
	}
}

func TestOpenEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _ := memPair(-1, -1)
		stop := errors.New("stop")
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Second, stop)
		defer cancel()
		start := time.Now()
		_, err := Open(ctx, conn, options())
		require.EqualError(t, err, "mx.example: greeting: 4.4.2 stop")
		require.ErrorIs(t, err, stop)
		require.Equal(t, time.Second, time.Since(start))
	})
}

// A server that never stops must not fill the memory.
func TestOpenBoundsGreeting(t *testing.T) {
	for name, endless := range map[string]string{"line": "220 xxxxxxxx", "lines": "220-x\r\n", "long lines": "220-" + string(make([]byte, 1000)) + "\r\n"} {
		t.Run(name, func(t *testing.T) {
			conn, server := memPair(-1, -1)
			ended := make(chan int)
			go func() {
				n := 0
				for {
					m, err := server.Write([]byte(endless))
					n += m
					if err != nil || n > 1<<20 {
						ended <- n
						return
					}
				}
			}()
			_, err := Open(context.Background(), conn, options())
			require.ErrorIs(t, err, ErrProtocol)
			<-ended
		})
	}
}
