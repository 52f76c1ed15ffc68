package main

import (
	"time"

	"github.com/volleymail/volley/bounce"
)

// event is what a mail says, as JSON.
type event struct {
	ID     string    `json:"id"` // of the mail: the same if it comes again
	Time   time.Time `json:"time"`
	Source string    `json:"source"`          // smtp, lmtp, maildir or mbox
	File   string    `json:"file,omitempty"`  // of a Maildir or mbox
	Error  string    `json:"error,omitempty"` // the mail could be read in part only

	Class string   `json:"class"` // bounce, delayed, delivered, complaint, unsubscribe, vacation, auto-reply ...
	To    []string `json:"to,omitempty"`
	From  string   `json:"from,omitempty"`

	// What the token in the return path or elsewhere says, if -keys is given.
	Verified     bool   `json:"verified,omitempty"`
	Campaign     string `json:"campaign,omitempty"`
	RecipientKey string `json:"recipient_key,omitempty"`
	Stream       string `json:"stream,omitempty"`

	Subject      string      `json:"subject,omitempty"`
	MessageID    string      `json:"message_id,omitempty"`
	EnvelopeID   string      `json:"envelope_id,omitempty"`
	FeedbackID   string      `json:"feedback_id,omitempty"`
	FeedbackType string      `json:"feedback_type,omitempty"`
	ReportingMTA string      `json:"reporting_mta,omitempty"`
	ArrivalDate  time.Time   `json:"arrival_date,omitzero"`
	Recipients   []recipient `json:"recipients,omitempty"`
	Suppressed   []string    `json:"suppressed,omitempty"` // addresses that this mail put on the list
}

// recipient is what a mail says of one recipient.
type recipient struct {
	Address    string  `json:"address,omitempty"`
	Original   string  `json:"original,omitempty"` // that we wrote to, if another
	Fate       string  `json:"fate,omitempty"`
	Status     string  `json:"status,omitempty"`
	Code       int     `json:"code,omitempty"`
	Diagnostic string  `json:"diagnostic,omitempty"`
	RemoteMTA  string  `json:"remote_mta,omitempty"`
	Category   string  `json:"category,omitempty"`
	Outcome    string  `json:"outcome,omitempty"` // hard, soft or block
	Scope      string  `json:"scope,omitempty"`
	Permanent  bool    `json:"permanent,omitempty"`
	Action     string  `json:"action,omitempty"`
	Rule       string  `json:"rule,omitempty"`
	Confidence float32 `json:"confidence,omitempty"`
}

// fill puts a report into the event.
func (e *event) fill(rep *bounce.Report) {
	e.Class = rep.Class.String()
	e.From, e.Subject = rep.From, rep.Subject
	e.MessageID, e.EnvelopeID, e.FeedbackID = rep.MessageID, rep.EnvelopeID, rep.FeedbackID
	e.ReportingMTA, e.ArrivalDate = rep.ReportingMTA, rep.ArrivalDate
	if rep.Feedback != nil {
		e.FeedbackType = rep.Feedback.Type
	}
	for _, r := range rep.Recipients {
		e.Recipients = append(e.Recipients, newRecipient(&r))
	}
	for _, r := range rep.Others {
		e.Recipients = append(e.Recipients, newRecipient(&r))
	}
}

func newRecipient(r *bounce.Recipient) recipient {
	out := recipient{Address: r.Address, Original: r.Original, Fate: r.Fate.String(), Status: r.Status.String(), Code: r.Reply.Code,
		Diagnostic: r.Diagnostic, RemoteMTA: r.RemoteMTA}
	if r.Fate == bounce.FateFailed || r.Class != (bounce.Class{}) {
		c := r.Class
		out.Category, out.Outcome, out.Scope = c.Category.String(), c.Outcome().String(), c.Scope.String()
		out.Permanent, out.Action, out.Rule, out.Confidence = c.Permanent, c.Action.String(), c.Rule, c.Confidence
	}
	return out
}
