package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/bounce/suppress"
	"github.com/volleymail/volley/bounce/unsubscribe"
)

// mail is one that came back.
type mail struct {
	source string   // as in event
	file   string   // as in event
	to     []string // recipients of the envelope, nil if not known
	body   io.Reader
}

// intake takes mails: reads each, feeds the list and delivers its event. It is
// used by many goroutines at once.
type intake struct {
	parser bounce.Parser
	codec  *bounce.Codec        // nil = every report is believed
	wishes *unsubscribe.Keyring // nil = none
	store  *fileStore
	list   *suppress.List
	out    *sink
	taken  atomic.Int64
}

// pruneEvery is after how many mails the list drops what has no effect any more.
const pruneEvery = 10_000

func newIntake(ctx context.Context, o *options, e *env) (*intake, error) {
	store, err := openStore(ctx, o.suppress, e)
	if err != nil {
		return nil, err
	}
	list, err := suppress.New(store, nil)
	if err != nil {
		return nil, errors.Join(err, store.close())
	}
	return &intake{parser: bounce.Parser{MaxSize: o.maxSize}, codec: o.codec, wishes: o.wishes, store: store, list: list, out: newSink(o, e)}, nil
}

func (in *intake) close() error {
	in.out.close()
	return in.store.close()
}

// laterError says that a mail could not be taken for a reason that has nothing
// to do with it: it is to be tried again.
type laterError struct{ err error }

func (e *laterError) Error() string { return e.err.Error() }
func (e *laterError) Unwrap() error { return e.err }

// take takes one mail. The error is a *laterError, or that of m.body.
func (in *intake) take(ctx context.Context, m mail) error {
	now := time.Now()
	id := sha256.New()
	// The bodies of SMTP and of files differ in line ends, so ids do too: it is
	// the same way on which a mail comes again.
	body := &errorReader{r: io.TeeReader(m.body, id)}
	rep, err := in.parser.Parse(body)
	if body.err != nil {
		return body.err
	}
	ev := event{Time: now.UTC(), Source: m.source, File: m.file, To: m.to}
	if err != nil {
		ev.Error = err.Error()
	}
	if rep == nil {
		rep = &bounce.Report{}
	}
	ev.ID = hex.EncodeToString(id.Sum(nil)[:16])
	rep.SentTo = append(slices.Clone(m.to), rep.SentTo...)
	if ev.To == nil {
		ev.To = rep.SentTo
	}
	ev.fill(rep)
	if err := in.feed(ctx, &ev, rep, now); err != nil {
		return &laterError{fmt.Errorf("suppression list: %w", err)}
	}
	if err := in.out.deliver(ctx, &ev); err != nil {
		return &laterError{err}
	}
	return nil
}

// errorReader remembers the error of its reader.
type errorReader struct {
	r   io.Reader
	err error // but io.EOF
}

func (e *errorReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		e.err = err
	}
	return n, err
}

// feed tells the list of a report, if it can be believed.
func (in *intake) feed(ctx context.Context, ev *event, rep *bounce.Report, now time.Time) (err error) {
	if in.taken.Add(1)%pruneEvery == 0 {
		if err := in.list.Prune(ctx); err != nil {
			return err
		}
	}
	if wish, ok := in.wish(rep, now); ok {
		ev.Verified, ev.Stream, ev.Suppressed = true, wish.Stream, []string{wish.Address}
		return in.list.Unsubscribe(ctx, suppress.Event{Recipient: wish.Address, Stream: wish.Stream, Time: now, Source: "mail with token"})
	}
	what := suppress.Event{Time: now}
	if in.codec != nil {
		ref, ok := in.codec.Find(rep, now)
		if !ok {
			return nil
		}
		ev.Verified, ev.Campaign, ev.RecipientKey, ev.Stream = true, ref.Campaign, ref.Recipient, ref.Stream
		if what.Recipient, rep = in.recipient(ref, rep); what.Recipient == "" {
			return nil
		}
		what.Stream = ref.Stream
	}
	ev.Suppressed, err = in.list.ObserveReport(ctx, what, rep)
	return err
}

// wish finds the token of a mail to the address in List-Unsubscribe.
func (in *intake) wish(rep *bounce.Report, now time.Time) (unsubscribe.Token, bool) {
	if in.wishes == nil || rep.Class != bounce.Unsubscribe && rep.Class != bounce.NotReport {
		return unsubscribe.Token{}, false
	}
	t, err := in.wishes.Find(rep.Subject, now)
	return t, err == nil
}

// recipient finds whom a token means: its key is the address itself, or the
// Codec.Key of an address in the report. Keys of other kinds only the caller's
// database knows. The report returned is about that recipient only.
func (in *intake) recipient(ref bounce.Ref, rep *bounce.Report) (address string, about *bounce.Report) {
	if strings.Contains(ref.Recipient, "@") {
		address = ref.Recipient
	}
	for _, r := range rep.Recipients {
		for _, a := range []string{r.Original, r.Address} {
			if a != "" && (strings.EqualFold(a, address) || in.codec.Key(a) == ref.Recipient) {
				one := *rep
				one.Recipients, one.Others = []bounce.Recipient{r}, nil
				return a, &one
			}
		}
	}
	return address, rep
}
