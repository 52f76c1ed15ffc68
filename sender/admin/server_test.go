package admin_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender/admin"
)

// slow takes ten minutes to cancel a campaign.
type slow struct{ *fake }

func (s slow) Cancel(ctx context.Context, campaign string) error {
	select {
	case <-time.After(10 * time.Minute):
		return s.fake.Cancel(ctx, campaign)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// one is a listener with one connection.
type one struct {
	conn chan net.Conn
	done chan struct{}
}

func (l one) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l one) Close() error   { close(l.done); return nil }
func (l one) Addr() net.Addr { return &net.TCPAddr{} }

// serve talks to a server over a pipe.
func serve(t *testing.T, h http.Handler) net.Conn {
	here, there := net.Pipe()
	l := one{make(chan net.Conn, 1), make(chan struct{})}
	l.conn <- there
	server := &http.Server{Handler: h}
	ended := make(chan error)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		here.Close()
		server.Close()
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
	return here
}

const head = "POST /campaigns/spring/cancel HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"

// A body must come soon; the work may take long.
func TestBodyTime(t *testing.T) {
	for name, tt := range map[string]struct {
		sent   string
		status int
		after  time.Duration
	}{
		"whole": {head + "{}", 200, 10 * time.Minute},
		"part":  {head + "{", 400, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				c := serve(t, admin.Handler(slow{f}))
				begin := time.Now()
				_, err := io.WriteString(c, tt.sent)
				require.NoError(t, err)
				answer, err := http.ReadResponse(bufio.NewReader(c), nil)
				require.NoError(t, err)
				require.Equal(t, tt.status, answer.StatusCode)
				require.Equal(t, tt.after, time.Since(begin))
				require.Equal(t, tt.status == 200, len(f.calls) == 1)
			})
		})
	}
}
