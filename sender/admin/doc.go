// Package admin offers the administration of a Sender as JSON over HTTP: what
// waits and why, and the verbs suspend, resume, cancel, send now and move.
//
// Handler does not ask who calls: whoever reaches it can stop all mail and read
// recipients' addresses. Mount it where only administrators get to, behind a
// check of who they are; the example shows one. It keeps web pages of others from
// using an administrator's browser: POST wants the content type application/json
// and refuses browsers' cross-origin requests.
//
// # Requests
//
//	curl "$URL/queue?stream=news&domain=example.com&limit=50"
//	curl $URL/snapshot
//	curl $URL/suspensions
//	curl $URL/moves
//	alias post='curl -H "Content-Type: application/json"'
//	post $URL/suspend -d '{"streams": ["news"], "sites": ["mx.example.com"], "until": "2h"}'
//	post $URL/resume -d '{"streams": ["news"], "sites": ["mx.example.com"]}'
//	post $URL/campaigns/spring/cancel -d '{}'
//	post $URL/send-now -d '{"domains": ["example.com"]}'
//	post $URL/move -d '{"campaigns": ["spring"], "source": "relay"}'
//
// A selection is any of these lists: sites, domains, streams, campaigns, messages,
// recipients (see sender.Selection). What matches one value of each list is
// selected; {"all": true} selects everything, and no list at all is refused, as an
// empty list is. suspend, resume and move take sites, streams and campaigns only. In GET
// /queue the lists are the query parameters site, domain, stream, campaign,
// message and recipient, each as often as wanted, and none means everything.
//
// until is a time such as "2026-12-01T08:00:00Z" (RFC 3339) or a duration such as
// "90m"; without it a suspension lasts until resume. source "" undoes a move. after
// is the next of the page before; limit is 100, and 1000 at most.
//
// # Answers
//
// Names are those of the Go fields, in snake_case; times are RFC 3339 in UTC, and
// are left out where there is none; 9999-12-31T23:59:59Z is without end. Fields may
// be added.
//
//	GET /queue        {"recipients": [...], "next": 123}     without next it was the last page
//	GET /snapshot     {"time": ..., "looking": 0, "destinations": [...]}
//	GET /suspensions  {"suspensions": [...]}
//	GET /moves        {"moves": [...]}
//	POST /suspend     as GET /suspensions, after it
//	POST /resume      the same
//	POST /move        as GET /moves, after it
//	POST /send-now    {"recipients": 7}                      how many will be tried
//	POST .../cancel   {}
//
// A recipient, a destination (see sender.Destination), a suspension and a move:
//
//	{"id": 7, "domain": "example.com", "stream": "news", "campaign": "spring", "message_id": "m1",
//	 "recipient": "ann@example.com", "submitted": "2026-11-21T08:00:00Z", "due": "2026-11-21T09:30:00Z", "attempts": 1,
//	 "last": {"time": "2026-11-21T09:00:00Z", "site": "mx.example.com", "source": "a",
//	  "reply": {"stage": "rcpt", "code": 450, "status": "4.2.1", "text": "Try later", "host": "mx.example.com"},
//	  "class": {"category": "greylisted", "outcome": "soft", "scope": "message", "permanent": false, "action": "retry", "rule": "r1"},
//	  "error": ""}}
//
//	{"site": "mx.example.com", "source": "a", "queued": 9, "deferred": 2, "in_flight": 1, "conns": 1, "idle": 0,
//	 "binding": "20/s", "rule": "example", "until": "2026-11-21T09:30:00Z", "reply": {...}, "rate": 19.8,
//	 "ends": "2026-11-21T09:30:00Z",
//	 "streams": [{"stream": "news", "queued": 9, "suspended": 9, "held": "2026-11-21T09:30:00Z", "why": "suspended"}]}
//
//	{"sites": ["mx.example.com"], "streams": ["news"], "since": "2026-11-21T08:00:00Z", "until": "2026-11-21T10:00:00Z"}
//	{"campaigns": ["spring"], "source": "relay", "since": "2026-11-21T08:00:00Z"}
//
// last, reply and class are left out before the first attempt, and where no server
// said anything.
//
// What goes wrong is {"error": "what"}, with status 400 for a mistake in the request
// (or 404, 405, 413, 415; 403 for a cross-origin one), 501 for /queue of a Sender
// without a Queue, 503 for one that is shut down, and 500 for what the Queue fails
// with.
package admin
