package main

import (
	"crypto"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/mail"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/volleymail/volley/dkim"
	"github.com/volleymail/volley/throttle"
)

// passwordVar is the environment variable with the relay's password: a flag
// would show it to everybody on the machine.
const passwordVar = "VOLLEY_RELAY_PASSWORD"

// options are the flags, checked.
type options struct {
	// For both.
	out   string
	limit time.Duration // -for
	spool string

	// Of the demonstration.
	n    int
	seed uint64

	// Of a real campaign.
	recipients        string
	subject           string
	html, text        string // files
	from              *mail.Address
	returnPath        string
	unsubscribe       string
	signer            *dkim.Signer // nil = none
	hostname          string
	relay, relayUser  string
	relayPassword     string
	dns               string
	limits            throttle.Limits
	dryRun            bool
	first             int // -limit, 0 = all
	keyFile, selector string
	domain            string
}

// demoFlags are those that mean something without -recipients.
var demoFlags = map[string]bool{"n": true, "seed": true, "for": true, "out": true, "spool": true}

// parseOptions reads the flags. The error names every mistake.
func parseOptions(args []string, e *env) (*options, error) {
	o := &options{limits: throttle.DefaultLimits()}
	var from, rate string
	var conns int
	f := flag.NewFlagSet("campaign", flag.ContinueOnError)
	f.SetOutput(e.stderr)
	f.StringVar(&o.out, "out", "", "write the results to this CSV `file` (default a new one in the temporary folder; with -spool the one beside it, with .csv behind its name)")
	f.StringVar(&o.spool, "spool", "", "keep the campaign in this `file`, so that the same command goes on with it after a stop or a crash")
	f.DurationVar(&o.limit, "for", 0, "stop after this `time`; what is left ends as deferred, or with -spool waits for the next run (default 60s for the demonstration without -spool, else no limit)")
	f.IntVar(&o.n, "n", 10_000, "demonstration: `number` of recipients")
	f.Uint64Var(&o.seed, "seed", 1, "demonstration: seed of its chances")
	f.StringVar(&o.recipients, "recipients", "", "CSV `file` of recipients: the first row names the columns, one is email. Makes it a real campaign")
	f.StringVar(&o.subject, "subject", "", "subject, a `template`: 'Hello {{.first}}'")
	f.StringVar(&o.html, "html", "", "`file` with the HTML part, a template (html/template)")
	f.StringVar(&o.text, "text", "", "`file` with the text part, a template (text/template)")
	f.StringVar(&from, "from", "", "`address` that readers see: 'Shop <news@shop.example>'")
	f.StringVar(&o.returnPath, "return-path", "", "`address` that bounces go to (default the one of -from)")
	f.StringVar(&o.unsubscribe, "list-unsubscribe", "", "https `URL` template for one-click unsubscription (RFC 8058); the mail templates have it as {{.unsubscribe}}")
	f.StringVar(&o.keyFile, "dkim-key", "", "PEM `file` with the private key to sign with")
	f.StringVar(&o.selector, "dkim-selector", "", "DKIM selector: the key is published at `name`._domainkey.<domain>")
	f.StringVar(&o.domain, "dkim-domain", "", "DKIM signing `domain` (default that of -from)")
	f.StringVar(&o.hostname, "hostname", "", "public DNS `name` of this machine, said in EHLO (default the system's, if it has a domain)")
	f.StringVar(&o.relay, "relay", "", "send all mail through this server, `host:port`, not to the recipients' own (465 means TLS from the start)")
	f.StringVar(&o.relayUser, "relay-user", "", "log in to the relay as this `user`, with the password in $"+passwordVar)
	f.StringVar(&o.dns, "dns", "", "DNS `server` to ask (default the system's)")
	f.StringVar(&rate, "rate", "", "messages to each destination, such as 20/s or 20/s,5000/h (default 100/s)")
	f.IntVar(&conns, "conns", 0, "connections to each destination (default 5)")
	f.BoolVar(&o.dryRun, "dry-run", false, "check everything, show the first mail and where the first ones go (10, or -limit), send nothing")
	f.IntVar(&o.first, "limit", 0, "take only the first `rows` of the list (default all)")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, fmt.Errorf("see -help for the flags") // f has said what is wrong
	}
	var p problems
	if f.NArg() > 0 {
		p.add("%q is no flag: give the list with -recipients", f.Arg(0))
	}
	set := map[string]bool{}
	f.Visit(func(x *flag.Flag) { set[x.Name] = true })
	o.checkShared(&p)
	if o.recipients == "" {
		for name := range set {
			if !demoFlags[name] {
				p.add("-%s is for a real campaign: it needs -recipients", name)
			}
		}
		return o, p.err()
	}
	o.checkMail(&p, from)
	o.checkKey(&p)
	o.checkWay(&p, e)
	o.checkLimits(&p, rate, conns)
	return o, p.err()
}

func (o *options) checkShared(p *problems) {
	if o.n < 1 {
		p.add("-n %d: it must be positive", o.n)
	}
	if o.limit < 0 {
		p.add("-for %v: it must be positive", o.limit)
	}
	if o.first < 0 {
		p.add("-limit %d: it must be positive, or 0 for all", o.first)
	}
}

// checkMail checks what makes the mail itself.
func (o *options) checkMail(p *problems, from string) {
	var err error
	if o.from, err = mail.ParseAddress(from); err != nil {
		p.add("-from %q: %s: give an address, such as 'Shop <news@shop.example>'", from, plain(err))
		o.from = &mail.Address{}
	}
	if o.returnPath == "" {
		o.returnPath = o.from.Address
	} else if err := checkAddress(o.returnPath); err != nil {
		p.add("-return-path %q: %v: give a plain address, such as bounces@shop.example", o.returnPath, err)
	}
	if o.subject == "" {
		p.add("-subject is missing: give one, such as 'Hello {{.first}}'")
	}
	if o.html == "" && o.text == "" {
		p.add("there is no mail: give -html, -text, or best both")
	}
	if err := checkFile(o.out); o.spool == "" && err != nil {
		p.add("-out %s: %v", o.out, err)
	}
}

// checkFile refuses to write over what is there: it may be the results of the
// last campaign.
func checkFile(path string) error {
	if path == "" {
		return nil
	}
	if _, err := os.Stat(path); err == nil {
		return errors.New("the file exists: name another one, or move it away")
	}
	return nil
}

// checkKey loads the DKIM key.
func (o *options) checkKey(p *problems) {
	if o.keyFile == "" {
		if o.selector != "" || o.domain != "" {
			p.add("-dkim-selector and -dkim-domain need -dkim-key")
		}
		return
	}
	if o.domain == "" {
		o.domain = domainOf(o.from.Address)
	}
	key, err := readKey(o.keyFile)
	if err != nil {
		p.add("-dkim-key %s: %v", o.keyFile, err)
		return
	}
	if o.selector == "" {
		p.add("-dkim-selector is missing: give the name under which the key is published")
		return
	}
	if o.signer, err = dkim.New(o.domain, o.selector, key, nil); err != nil {
		p.add("-dkim-key %s, -dkim-selector %s, -dkim-domain %s: %v", o.keyFile, o.selector, o.domain, err)
	}
}

func readKey(file string) (crypto.Signer, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, plain(err)
	}
	return dkim.ParseKey(data)
}

// checkWay checks how mail leaves.
func (o *options) checkWay(p *problems, e *env) {
	if o.hostname == "" {
		name, err := os.Hostname()
		if err != nil || !strings.Contains(name, ".") {
			p.add("-hostname is missing, and the system's name %q has no domain: give the public DNS name of this machine, such as mail.shop.example", name)
		}
		o.hostname = name
	} else if err := checkAddress("postmaster@" + o.hostname); err != nil {
		p.add("-hostname %q: give the public DNS name of this machine, such as mail.shop.example", o.hostname)
	}
	if err := checkRelay(o.relay); o.relay != "" && err != nil {
		p.add("-relay %q: %v: give host:port, such as relay.example:587", o.relay, err)
	}
	if o.relayUser != "" {
		o.relayPassword = e.getenv(passwordVar)
		switch {
		case o.relay == "":
			p.add("-relay-user needs -relay")
		case o.relayPassword == "":
			p.add("-relay-user: the environment variable %s is empty: put the password there", passwordVar)
		}
	}
	if o.dns != "" && o.relay != "" {
		p.add("-dns has no use with -relay: leave one out")
	}
	if host, _, err := net.SplitHostPort(o.dns); o.dns != "" && net.ParseIP(o.dns) == nil && (err != nil || net.ParseIP(host) == nil) {
		p.add("-dns %q: give an address, or address:port", o.dns)
	}
}

func checkRelay(relay string) error {
	host, port, err := net.SplitHostPort(relay)
	if err != nil {
		return errors.New("there is no port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is no port", port)
	}
	if net.ParseIP(host) == nil && checkAddress("postmaster@"+host) != nil {
		return fmt.Errorf("%q is no host name", host)
	}
	return nil
}

// checkLimits reads -rate and -conns.
func (o *options) checkLimits(p *problems, rate string, conns int) {
	if conns < 0 {
		p.add("-conns %d: it must be positive, or 0 for 5", conns)
	}
	o.limits.Conns = conns
	if rate == "" {
		return
	}
	o.limits.Rates = nil
	for _, text := range strings.Split(rate, ",") {
		r, err := throttle.ParseRate(strings.TrimSpace(text))
		if err != nil {
			p.add("-rate: %v: write it as 20/s, or several as 20/s,5000/h", err)
			return
		}
		if r != (throttle.Rate{}) {
			o.limits.Rates = append(o.limits.Rates, r)
		}
	}
}
