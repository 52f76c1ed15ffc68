package smtp

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A server that says anything at any time can't make a session hang, panic,
// lose a transaction or take one for sent that was not written.
func FuzzSession(f *testing.F) {
	const ok = "250-mx\r\n250-PIPELINING\r\n250 SIZE\r\n"
	f.Add("220 mx\r\n", "250 mx\r\n", "250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n", uint8(0), uint8(1))
	f.Add("220 mx\r\n", ok, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", uint8(3), uint8(8))
	f.Add("220 mx\r\n", "250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n", "250 ok\r\n250 ok\r\n250 ok\r\n421 bye\r\n", uint8(6), uint8(80))
	f.Add("220 mx\r\n", ok, "250 ok\r\n550 no\r\n354 go\r\n554 no\r\n", uint8(2), uint8(255))
	f.Add("554 no\r\n", "250-x\r\n", "", uint8(4), uint8(3))
	f.Add("220 mx\r\n", "502 what\r\n", "250 hi\r\n250 ok\r\n452 full\r\n503 no\r\n", uint8(5), uint8(2))
	f.Fuzz(func(t *testing.T, greeting, hello, rest string, form, piece uint8) {
		if len(rest) > 4096 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			client, server := memPair(-1, -1)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				defer server.Close()
				var b [4096]byte
				for _, words := range []string{greeting, hello, rest} {
					for len(words) > 0 {
						n := min(len(words), 1+int(piece))
						if _, err := server.Write([]byte(words[:n])); err != nil {
							return
						}
						words = words[n:]
						if len(words) == 0 || piece%2 == 0 {
							if _, err := server.Read(b[:]); err != nil {
								return
							}
						}
					}
				}
			}()
			o := options()
			o.Memory = fateForms[int(form)%len(fateForms)].mem
			start := time.Now()
			s, err := Open(context.Background(), client, o)
			if err != nil {
				<-ended
				return
			}
			q := &queue{todo: fateTransactions()}
			err = s.Run(context.Background(), q.next, q.done)
			require.Zero(t, q.out)
			for _, tx := range q.back {
				for _, r := range tx.Rcpts {
					switch r.Fate {
					case Sent:
						require.Equal(t, WireDot, tx.Wire)
						require.Equal(t, 2, r.Reply.Code/100)
					case Unknown:
						require.Equal(t, WireDot, tx.Wire)
						require.Error(t, tx.Err)
					case Refused:
						require.GreaterOrEqual(t, r.Reply.Code, 400)
					}
					require.Equal(t, rcptSettled, r.state)
				}
				require.True(t, tx.Err == nil || err != nil)
			}
			s.Quit(context.Background())
			require.Less(t, time.Since(start), 24*time.Hour)
			<-ended
		})
	})
}
