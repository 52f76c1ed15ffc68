package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestMaildir(t *testing.T) {
	file := folder(t, map[string]string{
		"new/1.a.host": dsn("b@bounces.example", "ann@example.com", unknownUser),
		"new/2.b.host": "",
		"new/.hidden":  "x",
		"new/3.c.host": "Subject: hello\n\nhello\n",
		"cur/0.z:2,S":  "old",
	})
	require.NoError(t, os.Mkdir(file("new/folder"), 0o700))
	code, stdout, stderr := call(t, &env{}, "-maildir", file("."), "-once")
	require.Equal(t, exitDone, code, stderr)
	got := events(t, stdout)
	require.Len(t, got, 3)
	require.Equal(t, "bounce", got[0].Class)
	require.Equal(t, "maildir", got[0].Source)
	require.Equal(t, file("new/1.a.host"), got[0].File)
	require.Contains(t, got[1].Error, "empty")
	require.Equal(t, "not-a-report", got[2].Class)
	require.Equal(t, []string{".hidden", "folder"}, names(t, file("new")))
	require.Equal(t, []string{"0.z:2,S", "1.a.host:2,S", "2.b.host:2,S", "3.c.host:2,S"}, names(t, file("cur")))
}

func TestMaildirWatched(t *testing.T) {
	file := folder(t, map[string]string{"new/1.a": dsn("b@bounces.example", "ann@example.com", unknownUser), "cur/0": "", "tmp/x": ""})
	p := start(t, &env{}, "-maildir", file("."), "-poll", "5ms")
	await(t, "the first mail", func() bool { return strings.Count(p.stdout.String(), "\n") == 1 })
	require.NoError(t, os.WriteFile(file("tmp/2.b"), []byte(dsn("b@bounces.example", "bob@example.com", unknownUser)), 0o600))
	require.NoError(t, os.Rename(file("tmp/2.b"), file("new/2.b")))
	await(t, "the second mail", func() bool { return strings.Count(p.stdout.String(), "\n") == 2 })
	require.Equal(t, exitDone, p.end())
	require.Empty(t, names(t, file("new")))
}

const box = "\nFrom MAILER-DAEMON Sat Nov 21 09:00:00 2026\nSubject: one\n\nfirst\n>From here\n>>From there\nFrom is no mail, for no empty line is before\n\n" +
	"From x Sat Nov 21 09:00:00 2026\r\nSubject: two\r\n\r\n\r\nFrom y\nSubject: three\n\nno line end"

func TestMboxReader(t *testing.T) {
	want := []string{
		"Subject: one\n\nfirst\nFrom here\n>From there\nFrom is no mail, for no empty line is before\n\n",
		"Subject: two\r\n\r\n\r\n",
		"Subject: three\n\nno line end",
	}
	for _, in := range []io.Reader{strings.NewReader(box), iotest.OneByteReader(strings.NewReader(box)), iotest.DataErrReader(strings.NewReader(box))} {
		b := newMbox(in)
		for _, w := range want {
			more, err := b.next()
			require.NoError(t, err)
			require.True(t, more)
			got, err := io.ReadAll(b)
			require.NoError(t, err)
			require.Equal(t, w, string(got))
		}
		more, err := b.next()
		require.NoError(t, err)
		require.False(t, more)
	}
	// A mail need not be read to its end, and lines may be long.
	long := "From a\n\n" + strings.Repeat(">From x", 50_000) + "\n\nFrom b\nSubject: last\n\n"
	b := newMbox(strings.NewReader(long))
	for range 2 {
		more, err := b.next()
		require.NoError(t, err)
		require.True(t, more)
	}
	got, err := io.ReadAll(b)
	require.NoError(t, err)
	require.Equal(t, "Subject: last\n\n", string(got))

	more, err := newMbox(strings.NewReader("\n\n")).next()
	require.NoError(t, err)
	require.False(t, more)
	_, err = newMbox(strings.NewReader("Subject: x\n\n")).next()
	require.ErrorIs(t, err, errNoMbox)
	b = newMbox(io.MultiReader(strings.NewReader("From a\n\nx"), iotest.ErrReader(io.ErrClosedPipe)))
	_, err = b.next()
	require.NoError(t, err)
	_, err = io.ReadAll(b)
	require.ErrorIs(t, err, io.ErrClosedPipe)
	_, err = b.next()
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

// Every byte comes back, but for the lines that separate and quote.
func FuzzMbox(f *testing.F) {
	f.Add([]byte(box))
	f.Add([]byte("From \n\nFrom \n>From "))
	f.Fuzz(func(t *testing.T, in []byte) {
		b := newMbox(bytes.NewReader(in))
		total, mails := 0, 0
		for {
			more, err := b.next()
			if err != nil {
				require.ErrorIs(t, err, errNoMbox)
				require.Zero(t, mails)
				return
			}
			if !more {
				break
			}
			mails++
			got, err := io.ReadAll(b)
			require.NoError(t, err)
			total += len(got)
		}
		require.LessOrEqual(t, total+5*mails, len(in))
	})
}

func TestMbox(t *testing.T) {
	mail := "From MAILER-DAEMON Sat Nov 21 09:00:00 2026\n" + dsn("b@bounces.example", "ann@example.com", unknownUser)
	file := folder(t, map[string]string{"a": mail + "\n" + mail, "b": mail, "empty": ""})
	code, stdout, stderr := call(t, &env{}, "-mbox", file("a"), "-mbox", file("b"), "-mbox", file("empty"))
	require.Equal(t, exitDone, code, stderr)
	got := events(t, stdout)
	require.Len(t, got, 3)
	for _, ev := range got {
		require.Equal(t, "bounce", ev.Class)
		require.Equal(t, "mbox", ev.Source)
		require.Equal(t, "ann@example.com", ev.Recipients[0].Address)
	}
}

// The list outlives the program, and a crash in the middle of a line.
func TestList(t *testing.T) {
	file := folder(t, map[string]string{
		"1": "From x\n" + dsn("b@bounces.example", "ann@example.com", unknownUser) + "\nFrom x\n" + dsn("b@bounces.example", "cid@example.com", unknownUser),
		"2": "From x\n" + dsn("b@bounces.example", "bob@example.com", unknownUser),
	})
	listFile := file("list.csv")
	code, _, stderr := call(t, &env{}, "-mbox", file("1"), "-suppress", listFile)
	require.Equal(t, exitDone, code, stderr)
	before, err := os.ReadFile(listFile)
	require.NoError(t, err)
	require.Equal(t, 3, strings.Count(string(before), "\n"), "names and two entries")
	require.NoError(t, os.WriteFile(listFile, append(before, "dan@examp"...), 0o600))

	code, _, stderr = call(t, &env{}, "-mbox", file("2"), "-suppress", listFile)
	require.Equal(t, exitDone, code, stderr)
	require.Empty(t, stderr)
	after, err := os.ReadFile(listFile)
	require.NoError(t, err)
	require.Equal(t, 4, strings.Count(string(after), "\n"))
	require.NotContains(t, string(after), "dan@")
	require.NoError(t, os.WriteFile(listFile, append(after, "nobody,,,,,,\n"...), 0o600))
	warned := &output{}
	s, err := openStore(context.Background(), listFile, &env{stderr: warned})
	require.NoError(t, err)
	require.Contains(t, warned.String(), "line 5")
	require.Equal(t, 3, s.Len())
	for _, key := range []string{"ann@example.com", "bob@example.com", "cid@example.com"} {
		entries, err := s.Find(t.Context(), key)
		require.NoError(t, err)
		require.Len(t, entries, 1)
		require.Equal(t, "invalid-mailbox", entries[0].Category.String())
	}
	require.NoError(t, s.close())
	require.NoError(t, s.close(), "twice")
	info, err := os.Stat(listFile)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, os.Remove(filepath.Clean(listFile)))
}
