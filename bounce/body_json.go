package bounce

import (
	"encoding/json"
	"strings"
)

// snsEvent is a notification of Amazon SES as SNS mails it: JSON, in which the
// event is a string that is JSON again, or the event itself.
type snsEvent struct {
	Message          string
	NotificationType string `json:"notificationType"`
	EventType        string `json:"eventType"`
	Bounce           struct {
		BounceType        string `json:"bounceType"`
		ReportingMTA      string `json:"reportingMTA"`
		BouncedRecipients []struct {
			EmailAddress, Action, Status, DiagnosticCode string
		} `json:"bouncedRecipients"`
	}
	DeliveryDelay struct {
		DelayedRecipients []struct {
			EmailAddress, Status, DiagnosticCode string
		} `json:"delayedRecipients"`
		ReportingMTA string `json:"reportingMTA"`
	}
	Complaint struct {
		ComplainedRecipients  []struct{ EmailAddress string }
		ComplaintFeedbackType string
		UserAgent             string
	}
	Delivery struct{ Recipients []string }
	Mail     struct {
		Timestamp     string
		CommonHeaders struct{ MessageID, Subject string }
		Headers       []Field
	}
}

// notification reads what Amazon SNS mails of Amazon SES's events.
func (j *judge) notification() bool {
	if k := j.mail.kind; k != "" && k != "text/plain" && k != "application/json" || len(j.mail.parts) == 0 {
		return false
	}
	if raw := strings.TrimSpace(string(j.mail.parts[0].raw[:min(len(j.mail.parts[0].raw), 64)])); !strings.HasPrefix(raw, "{") && !j.mail.parts[0].encoded() {
		return false
	}
	j.readWords()
	text := strings.TrimSpace(j.words)
	if !strings.HasPrefix(text, "{") || !strings.Contains(text, "ecipients") {
		return false
	}
	text = strings.ReplaceAll(text, "\n ", "") // a long line that a server has folded
	var e snsEvent
	if json.NewDecoder(strings.NewReader(text)).Decode(&e) != nil {
		return false
	}
	if e.Message != "" && json.Unmarshal([]byte(e.Message), &e) != nil {
		return false
	}
	return j.sesEvent(&e)
}

func (j *judge) sesEvent(e *snsEvent) bool {
	s := statusReport{arrival: parseDate(e.Mail.Timestamp)}
	switch kind := e.NotificationType + e.EventType; kind {
	case "Bounce":
		s.reportingMTA = hostOf(e.Bounce.ReportingMTA)
		for _, r := range e.Bounce.BouncedRecipients {
			s.recipients = append(s.recipients, statusRecipient{final: firstAddress(r.EmailAddress), action: "failed", status: r.Status, diagnostic: r.DiagnosticCode})
		}
		j.recipients(&s)
	case "DeliveryDelay":
		s.reportingMTA = hostOf(e.DeliveryDelay.ReportingMTA)
		for _, r := range e.DeliveryDelay.DelayedRecipients {
			s.recipients = append(s.recipients, statusRecipient{final: firstAddress(r.EmailAddress), action: "delayed", status: r.Status, diagnostic: r.DiagnosticCode})
		}
		j.recipients(&s)
	case "Delivery":
		for _, a := range e.Delivery.Recipients {
			s.recipients = append(s.recipients, statusRecipient{final: firstAddress(a), action: "delivered"})
		}
		j.recipients(&s)
	case "Complaint":
		j.rep.Feedback = &Feedback{Type: strings.ToLower(e.Complaint.ComplaintFeedbackType), UserAgent: e.Complaint.UserAgent, Incidents: 1}
		if j.rep.Feedback.Type == "" {
			j.rep.Feedback.Type = "abuse"
		}
		var to []string
		for _, r := range e.Complaint.ComplainedRecipients {
			to = append(to, addresses(r.EmailAddress)...)
		}
		j.complaint(to)
	default:
		return false
	}
	j.statusReport(&s)
	for _, f := range e.Mail.Headers {
		j.rep.Original = append(j.rep.Original, Field{f.Name, decodeWords(f.Value)})
	}
	j.rep.MessageID = messageID(e.Mail.CommonHeaders.MessageID)
	return true
}
