//go:build !unix

package spool

import (
	"testing"
	"time"
)

func cpuTime(testing.TB) time.Duration { return 0 }
