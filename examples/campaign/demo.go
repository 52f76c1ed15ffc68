package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	_ "embed"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"net/mail"
	"slices"
	"strconv"
	"time"

	"github.com/volleymail/volley/dkim"
	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/letter"
	"github.com/volleymail/volley/sender/sendertest"
)

// The mail of the demonstration.
var (
	//go:embed newsletter.html
	newsletterHTML string
	//go:embed newsletter.txt
	newsletterText string
)

// demoTime is the default of -for. On two free cores the demonstration is over
// before: what nobody takes is given up after a few tries.
const demoTime = 60 * time.Second

// demo sends a newsletter to an internet of its own.
func demo(ctx context.Context, o *options, e *env) int {
	providers := slices.Concat(healthy, troubled)
	sandbox, err := sendertest.New(sendertest.Options{Memory: true, Seed: o.seed, KeepBodies: -1})
	if err != nil {
		return e.fail(err, exitLeft)
	}
	defer sandbox.Close()
	for i := range providers {
		providers[i].settle(sandbox)
	}
	c, err := newDemo(o, sandbox, providers)
	if err != nil {
		return e.fail(err, exitLeft)
	}
	if err := c.keep(ctx, o.spool); err != nil {
		return e.fail(err, exitUsage)
	}
	fmt.Fprintf(e.stdout, "A newsletter for %s recipients at %d providers, a signed mail for each.\n"+
		"No real mail is sent: the providers are servers inside this process.\n"+
		"Here retries come after seconds, not minutes.\n%s\n", number(o.n), len(providers), c.kept.greeting())
	sum, err := c.run(ctx, e)
	if sum != nil {
		sum.report(e)
		compare(e, sum, sandbox)
	}
	switch {
	case err != nil:
		return e.fail(err, exitLeft)
	case ctx.Err() != nil || o.spool != "" && sum.left() > 0:
		return exitLeft
	default:
		return exitDone
	}
}

// newDemo makes the campaign.
func newDemo(o *options, sandbox *sendertest.Sandbox, providers []provider) (*campaign, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	signer, err := dkim.New("shop.example", "demo", key, nil)
	if err != nil {
		return nil, err
	}
	mail, err := demoMail(audience(providers, o.n, o.seed))
	if err != nil {
		return nil, err
	}
	limit := o.limit
	if limit == 0 && o.spool == "" {
		limit = demoTime
	}
	return &campaign{mail: mail, out: o.out, limit: limit, cfg: sender.Config{
		Hostname: "mail.shop.example",
		Signer:   signer,
		Policy:   policy(providers),
		Resolver: sandbox.Resolver(),
		Dial:     sandbox.Dial,
		Retry:    sender.Retry{Schedule: []time.Duration{2500 * ms, 3 * time.Second}, MaxAttempts: 3, Pause: time.Second, MaxPause: time.Second},
		Timeouts: sender.Timeouts{Connect: 3 * time.Second},
	}}, nil
}

func demoMail(l *list) (*composer, error) {
	return newComposer(l, "bounces@shop.example", letter.Config{
		From:        mail.Address{Name: "The Shop", Address: "news@shop.example"},
		Subject:     "{{.first}}, your picks for {{.city}}",
		Text:        newsletterText,
		HTML:        newsletterHTML,
		Unsubscribe: "https://shop.example/u/{{.token}}",
	})
}

var (
	firstNames = []string{"Ana", "Björn", "Chen", "Dalia", "Emre", "Fatou", "Greta", "Hugo", "Ines", "Jan", "Kofi", "Léa", "Mina", "Noor", "Olek", "Priya", "Quinn", "Rosa", "Sven", "Tuan"}
	localNames = []string{"ana", "bjorn", "chen", "dalia", "emre", "fatou", "greta", "hugo", "ines", "jan", "kofi", "lea", "mina", "noor", "olek", "priya", "quinn", "rosa", "sven", "tuan"}
	cities     = []string{"Lisbon", "Malmö", "Chengdu", "Cairo", "Izmir", "Dakar", "Zürich", "Lyon", "Porto", "Brno", "Accra", "Nantes", "Seoul", "Utrecht", "Gdańsk", "Pune"}
)

// audience makes n recipients, spread over the providers by their shares and
// shuffled as on a real list.
func audience(providers []provider, n int, seed uint64) *list {
	luck := mathrand.New(mathrand.NewPCG(seed, uint64(n)))
	l := &list{name: "the audience", columns: []string{emailColumn, "first", "city", "points", "token"}}
	shares := 0
	for _, p := range providers {
		shares += p.share
	}
	given, sum := 0, 0
	for _, p := range providers {
		sum += p.share
		upTo := int(math.Round(float64(n) * float64(sum) / float64(shares)))
		for ; given < upTo; given++ {
			l.rows = append(l.rows, person(luck, given, p.domains))
		}
	}
	luck.Shuffle(n, func(i, j int) { l.rows[i], l.rows[j] = l.rows[j], l.rows[i] })
	return l
}

// person makes a recipient; one in sixty has left, one in two hundred never
// empties the mailbox.
func person(luck *mathrand.Rand, i int, domains []string) row {
	who := luck.IntN(len(firstNames))
	domain := domains[0]
	if luck.IntN(5) == 0 {
		domain = domains[luck.IntN(len(domains))]
	}
	local := localNames[who] + strconv.Itoa(i)
	switch draw := luck.IntN(600); {
	case draw < 10:
		local = goneMark + local
	case draw < 13:
		local = fullMark + local
	}
	return row{local + "@" + domain, firstNames[who], cities[luck.IntN(len(cities))], strconv.Itoa(10 * luck.IntN(200)),
		strconv.FormatUint(luck.Uint64(), 36)}
}

// compare sets what the servers took against what the results say.
func compare(e *env, s *summary, sandbox *sendertest.Sandbox) {
	took := map[string]int{}
	for _, m := range sandbox.Messages() {
		for _, to := range m.Rcpts {
			took[to]++
		}
	}
	twice := 0
	for _, n := range took {
		if n > 1 {
			twice++
		}
	}
	o, _ := s.totals()
	says := fmt.Sprintf("results: %s sent, %s unknown", number(o[sender.Sent]), number(o[sender.Unknown]))
	if s.spool != "" { // the servers are new in each run, the results of all runs
		says = "those of this run"
	}
	fmt.Fprintf(e.stdout, "Check: the servers hold mail for %s recipients (%s), %s of them twice.\n", number(len(took)), says, number(twice))
}
