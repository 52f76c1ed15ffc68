package sender_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/volleymail/volley/sender"
)

func TestMistakesInNumbers(t *testing.T) {
	nan := math.NaN()
	_, err := sender.New(sender.Config{Hostname: "mail.sender.example",
		Retry:    sender.Retry{Jitter: nan, Pause: time.Hour, MaxPause: time.Minute},
		Breaker:  sender.Breaker{HardBounces: 2, Blocks: nan, Complaints: -1},
		Timeouts: sender.Timeouts{Connect: -1, Quit: -1}})
	require.EqualError(t, err, `sender: Config.Retry.Jitter is NaN: it must be at most 1
sender: Config.Retry.MaxPause is 1m0s, less than Pause, 1h0m0s: make it as long or leave it 0
sender: Config.Breaker.HardBounces is 2: it is a part, from 0 to 1
sender: Config.Breaker.Blocks is NaN: it is a part, from 0 to 1
sender: Config.Breaker.Complaints is -1: it is a part, from 0 to 1
sender: Config.Timeouts.Connect is -1ns: it must be positive, or 0 for the default
sender: Config.Timeouts.Quit is -1ns: it must be positive, or 0 for the default`)
}

// An address cannot write lines of its own into a log.
func TestErrorIsOneLine(t *testing.T) {
	err := &sender.Error{Recipient: "u@a.example\r\nlevel=ERROR", Err: sender.ErrExpired}
	require.EqualError(t, err, `sender: <"u@a.example\r\nlevel=ERROR">: the lifetime is over`)
}
