package unsubscribe

import "html/template"

// State is what a page is about.
type State string

// The states.
const (
	Ask     State = "ask"     // do you want to unsubscribe? A button says so
	Done    State = "done"    // it is done
	Invalid State = "invalid" // the link is damaged, or none of ours
	Expired State = "expired" // the link is too old
	Failed  State = "failed"  // trouble on our side: try again later
	Misused State = "misused" // a request that no page or mail program makes
)

// Page is what a page shows. On Ask it must have a form that POSTs the field
// "unsubscribe" with the value "yes" to the URL it came from: its action is empty.
type Page struct {
	State   State
	Address string // the recipient; "" if not known
	Stream  string // "" = all mail, or not known
	Contact string // Config.Contact
}

const (
	formField = "unsubscribe"
	formValue = "yes"
)

// defaultPolicy lets the default page show its style and send its form.
const defaultPolicy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

var defaultPage = template.Must(template.New("unsubscribe").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{{if eq .State "ask"}}Unsubscribe?{{else if eq .State "done"}}Unsubscribed{{else}}Not unsubscribed{{end}}</title>
<style>
:root { color-scheme: light dark; }
body { font: 1.125rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto 0; padding: 0 1.25rem; overflow-wrap: anywhere; }
button { font: inherit; padding: .6rem 1.5rem; cursor: pointer; }
</style>
</head>
<body>
<main>
{{- if eq .State "ask"}}
<h1>Unsubscribe?</h1>
<p>{{if .Stream}}“{{.Stream}}” will no longer be sent{{else}}We will send no more mail{{end}} to <strong>{{.Address}}</strong>.</p>
<form method="post" action="">
<button type="submit" name="unsubscribe" value="yes">Unsubscribe</button>
</form>
{{- else if eq .State "done"}}
<h1>You are unsubscribed</h1>
<p>{{if .Stream}}“{{.Stream}}” will no longer be sent{{else}}We will send no more mail{{end}} to <strong>{{.Address}}</strong>. Mail that is already on its way may still arrive.</p>
{{- else if eq .State "failed"}}
<h1>That did not work</h1>
<p>The trouble is on our side, and you are still subscribed. Please try again in a few minutes.</p>
<form method="post" action="">
<button type="submit" name="unsubscribe" value="yes">Try again</button>
</form>
{{- else if eq .State "expired"}}
<h1>This link is too old</h1>
<p>You are still subscribed. Please use the link in the latest mail that you got.</p>
{{- else if eq .State "misused"}}
<h1>That is not how it works</h1>
<p>You are still subscribed. Please open the link in the mail again, and press the button.</p>
{{- else}}
<h1>This link is incomplete</h1>
<p>You are still subscribed. Mail programs sometimes break long links: please open it from the mail again, or copy the whole of it.</p>
{{- end}}
{{- if and .Contact (ne .State "ask") (ne .State "done")}}
<p>If it fails again, we gladly do it for you: {{.Contact}}</p>
{{- end}}
</main>
</body>
</html>
`))
