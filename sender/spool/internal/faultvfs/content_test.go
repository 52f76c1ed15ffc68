//go:build unix

package faultvfs

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A content is what a []byte would be, and its clones stay what they are.
func TestContent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	path := filepath.Join(t.TempDir(), "x")
	var c content
	var want []byte
	resize := func(n int) {
		want = append(want, make([]byte, max(0, n-len(want)))...)[:n]
	}
	for range 200 {
		old, was := c.clone(), bytes.Clone(want)
		off, data := rng.IntN(5*block), noise(1+rng.IntN(2*block), rng)
		if rng.IntN(3) == 0 {
			c.resize(int64(off))
			resize(off)
		} else {
			c.write(int64(off), data)
			resize(max(len(want), off+len(data)))
			copy(want[off:], data)
		}
		for _, x := range []struct {
			c    content
			want []byte
		}{{c, want}, {old, was}} {
			require.NoError(t, x.c.save(path))
			got, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, string(x.want) == string(got))
			loaded, err := load(path)
			require.NoError(t, err)
			require.Equal(t, x.c.size, loaded.size)
			require.NoError(t, loaded.save(path))
			again, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, string(x.want) == string(again))
		}
	}
}

// The disk is as much fuller as there are new blocks.
func TestGrow(t *testing.T) {
	f := newInode(content{})
	for _, step := range []struct {
		c    change
		want int64
	}{
		{change{off: 10, data: make([]byte, block)}, 2 * block},
		{change{off: 0, data: make([]byte, 2*block)}, 0},
		{change{off: 100 * block, data: []byte("x")}, block},
		{change{off: block + 1}, -block},
		{change{off: 100 * block}, 0}, // longer again: a hole
		{change{off: block, data: make([]byte, 2*block)}, block},
		{change{off: 0}, -3 * block},
	} {
		require.Equal(t, step.want, f.grow(step.c))
		f.change(step.c)
	}
	require.Empty(t, f.taken)
}
