package sender

import (
	"context"
	"slices"
	"time"

	"github.com/volleymail/volley/bounce"
)

// A Queue keeps submitted mail until the end of each recipient is known and
// told: package sender/spool has one in a file. Use Config.Queue and the
// Sender's methods; these are for those who write a Queue, whose methods must
// be safe for concurrent use. One Sender at a time uses a Queue. Package
// queuetest checks whether one keeps to what is said here.
//
// Times are those that the Sender passes: a Queue has no clock. It keeps them to
// the millisecond at least, and the zero time stays zero. A due time that is zero
// or past means at once. When ctx has ended, a method returns an error that wraps
// its error, and Write has then stored nothing.
//
// What is stored outlasts the process with all of its state: Due, Attempts, Last,
// Warned, marks of Sending, results and their Seq. Only what was handed out is
// forgotten when a Queue is opened anew: it is handed out again, with InFlight
// where it was marked.
type Queue interface {
	// Submit stores messages, checked by the Sender, and returns when a crash
	// would not lose them. A pair of Message.ID and recipient that it was given
	// before is passed over, though that one has ended and was acknowledged;
	// recipients are compared by SplitRecipient's parts, one that is malformed as it
	// stands. Other recipients under a Message.ID that is known are a message of
	// their own, with its own Number and content. It blocks rather than collect in
	// memory. After an error some of the messages may be stored. A message of a
	// campaign that was canceled gives an error that wraps ErrCanceled.
	Submit(ctx context.Context, now time.Time, msgs ...*Submission) error

	// Take hands out recipients of a stream that are due: lines in turn, within a
	// line by due time, and those of one message, line and due time together, in
	// the order of Message.To. What is handed out stays stored, and is not handed
	// out again before a Change says Later or the Queue is opened anew.
	//
	// room tells how many a line may have; it is asked once for a line at most,
	// must not call the Queue, and is obeyed though that parts a message. max
	// bounds them all, but for the rest of the last message. Lines share it: of L
	// that are due, one with less than max/L is handed out whole, and where max is
	// less than L, the next Take goes on behind the line that was last.
	//
	// next is when more of those that were not passed over for want of room fall
	// due, zero if there are none: not later than that, and after now unless some
	// are due that max left out.
	Take(ctx context.Context, stream string, now time.Time, max int, room func(Line) int) (taken []*Taken, next time.Time, err error)

	// Write stores changes, in order, all or none, and returns when a crash would
	// not lose them. It sets Seq of those that are EndedNow. A Notice is submitted
	// in the same step, as of now; it is passed over if its pair is known or its
	// campaign was canceled. Acknowledged with an unknown Seq is no error.
	Write(ctx context.Context, now time.Time, changes []Change) error

	// Results returns results that were not acknowledged and whose Seq is higher
	// than after, by Seq, max at most.
	Results(ctx context.Context, after int64, max int) ([]Ended, error)

	// List returns recipients that have not ended and match, by ID, from the first
	// after the one given.
	List(ctx context.Context, match Selection, after int64, max int) ([]Queued, error)

	// Reschedule sets the due time of what matches, has not ended and is not
	// handed out, and returns how many these were.
	Reschedule(ctx context.Context, match Selection, due time.Time) (int, error)

	// Cancel ends about max recipients of a campaign that are neither handed out
	// nor InFlight, as Canceled, and refuses later ones, after it is opened anew
	// too. more means that there are others: call it again. What is handed out
	// now, and comes back by Later, waits until Cancel is called again. The Result
	// has an Err that is an *Error and wraps ErrCanceled, and Attempts, Site, Source
	// and Reply of the last attempt, if there was one.
	Cancel(ctx context.Context, campaign string, now time.Time, max int) (n int, more bool, err error)

	// Uses names the streams and templates of what has not ended, in any order.
	// "" is not among the templates.
	Uses(ctx context.Context) (streams, templates []string, err error)

	// Save keeps a value under a name, nil to forget it; Load returns it, nil if
	// there is none. The Sender keeps its suspensions so.
	Save(ctx context.Context, name string, value []byte) error
	Load(ctx context.Context, name string) ([]byte, error)
}

// Submission is a message as a Queue stores it.
type Submission struct {
	*Message
	Body []byte    // the mail, nil for a Template. The same Body of several messages is stored once
	Data []byte    // Message.Data in JSON, nil if there is none
	Due  time.Time // the first attempt
}

// Line is what a Queue keeps in order: mail of one campaign of one stream to one
// domain. The domain is in lower case and A-labels; it is "" for recipients
// that are malformed.
type Line struct {
	Domain, Stream, Campaign string
}

// Taken is recipients of one message in one Line.
type Taken struct {
	Line
	Number     int64     // the message's, never used again; all its recipients share it
	Message    *Message  // To is these recipients. Content reads a stored Body when it is asked; Data is a json.RawMessage
	Born       time.Time // when it was submitted, or Message.NotBefore if that is later
	Recipients []Waiting // as in Message.To
}

// Waiting is the state of a recipient that was handed out.
type Waiting struct {
	ID       int64 // the recipient's, never used again
	Attempts int
	Last     *Attempt // nil before the first
	InFlight bool     // Sending was the last that was written of it: its fate is not known
	Warned   bool     // a delay notice went out
}

// Attempt is how the last attempt ended.
type Attempt struct {
	Time   time.Time
	Site   string
	Source string
	Reply  bounce.Reply
	Class  bounce.Class
	Err    string // what Error.Err said, "" if the reply says it all
}

// ChangeKind says what became of a recipient.
type ChangeKind uint8

// The kinds of changes.
const (
	Sending      ChangeKind = iota // the end of the message may be on the wire from now on
	NotSending                     // it was not sent after all; still handed out
	Later                          // to be handed out again at Due: Attempts, Last and Warned are to be kept
	EndedNow                       // Result is to be kept until it is acknowledged
	Acknowledged                   // the Result with this Seq can go
)

// Change is what became of a recipient that was handed out. Each kind but
// Sending takes back the InFlight of the recipient.
type Change struct {
	Kind     ChangeKind
	ID       int64 // the recipient's; not for Acknowledged
	Due      time.Time
	Attempts int
	Last     *Attempt
	Warned   bool
	Result   *Result     // Message is the one that was handed out
	Seq      int64       // Acknowledged: of the Result; EndedNow: set by Write, growing
	Notice   *Submission // to be submitted with the change, nil = none
}

// Ended is a Result in the journal. Its Err comes back as an *Error with its
// fields: of Error.Err the text is kept, and which of the Err values of this
// package it wraps.
type Ended struct {
	Seq    int64
	Result Result // Message has neither Content nor Data; To is the recipient
}

// Queued is a recipient that waits, or is on its way.
type Queued struct {
	ID int64 // by which List goes on
	Line
	MessageID string
	Recipient string
	Submitted time.Time // or Message.NotBefore, if that is later
	Due       time.Time // next attempt; in the past for what is on its way
	Attempts  int
	Last      *Attempt
}

// Selection picks recipients: those that match every field that is set; within
// a field any value will do. The zero Selection picks all. Values are compared
// as they stand.
type Selection struct {
	Sites      []string `json:"sites,omitempty"`   // as Result.Site and Snapshot name them
	Domains    []string `json:"domains,omitempty"` // lower case and A-labels
	Streams    []string `json:"streams,omitempty"`
	Campaigns  []string `json:"campaigns,omitempty"`
	Messages   []string `json:"messages,omitempty"`   // Message.ID
	Recipients []string `json:"recipients,omitempty"` // as they were submitted
}

func picks(values []string, v string) bool {
	return len(values) == 0 || slices.Contains(values, v)
}
