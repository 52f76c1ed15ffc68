package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/bounce/unsubscribe"
)

// tokenVar is the environment variable with the token for -post: a flag would
// show it to everybody on the machine.
const tokenVar = "VOLLEY_POST_TOKEN"

// options are the flags, checked.
type options struct {
	smtp, lmtp string // addresses to listen on
	hostname   string
	domains    []string // whose mail is taken, nil = any
	maxSize    int64    // of a mail
	maxConns   int
	timeout    time.Duration

	maildir string
	poll    time.Duration
	once    bool
	mboxes  []string

	post      string
	postToken string
	postTime  time.Duration
	suppress  string
	codec     *bounce.Codec        // nil = every report is believed
	wishes    *unsubscribe.Keyring // nil = no tokens in subjects
}

// demo reports whether no flag names a source of mail.
func (o *options) demo() bool {
	return o.smtp == "" && o.lmtp == "" && o.maildir == "" && len(o.mboxes) == 0
}

// parseOptions reads the flags. The error names every mistake.
func parseOptions(args []string, e *env) (*options, error) {
	o := &options{}
	var domains, keys, streams, wishes string
	f := flag.NewFlagSet("bounces", flag.ContinueOnError)
	f.SetOutput(e.stderr)
	f.StringVar(&o.smtp, "smtp", "", "take mail by SMTP at this `address`, such as 127.0.0.1:2525")
	f.StringVar(&o.lmtp, "lmtp", "", "take mail by LMTP at this `address`: host:port, or unix:/path of a socket")
	f.StringVar(&o.hostname, "hostname", "", "`name` that the servers greet with (default the system's)")
	f.StringVar(&domains, "domain", "", "take only mail to this `domain`, or several with commas (default any; -keys needs one)")
	f.Int64Var(&o.maxSize, "max-size", 32<<20, "refuse mails of more `bytes`")
	f.IntVar(&o.maxConns, "max-conns", 100, "`number` of connections to each server at once")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "`time` that a client may take for a command or a mail")
	f.StringVar(&o.maildir, "maildir", "", "read the mails in new/ of this `folder`, move them to cur/, and watch for more")
	f.DurationVar(&o.poll, "poll", 2*time.Second, "`time` between looks at the Maildir")
	f.BoolVar(&o.once, "once", false, "read the Maildir once, do not watch it")
	f.Func("mbox", "read this `file` once; may be given again", func(s string) error {
		o.mboxes = append(o.mboxes, s)
		return nil
	})
	f.StringVar(&o.post, "post", "", "POST the events to this `URL` too, with the bearer token in $"+tokenVar+", if any")
	f.DurationVar(&o.postTime, "post-time", 30*time.Second, "`time` to try a POST again when it fails")
	f.StringVar(&o.suppress, "suppress", "", "keep the suppression list in this CSV `file`, which is made if need be (default in memory)")
	f.StringVar(&keys, "keys", "", "`file` with the keys of the return paths' bounce.Codec, one on a line, the newest first")
	f.StringVar(&streams, "streams", "", "`names` of the streams that the Codec has, with commas, in its order")
	f.StringVar(&wishes, "unsubscribe-keys", "", "`file` with the secrets of package unsubscribe, one on a line: mails with its tokens in their subject unsubscribe")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, errors.New("see -help for the flags") // f has said what is wrong
	}
	var errs []error
	if f.NArg() > 0 {
		errs = append(errs, fmt.Errorf("%q is no flag: give files with -mbox and -maildir", f.Arg(0)))
	}
	if o.demo() && f.NFlag() > 0 {
		errs = append(errs, errors.New("no mail to read: give -smtp, -lmtp, -maildir or -mbox, or no flag at all for the demonstration"))
	}
	o.domains = list(strings.ToLower(domains))
	errs = append(errs, o.check(), o.checkPost(e), o.loadCodec(keys, list(streams)), o.loadWishes(wishes))
	return o, errors.Join(errs...)
}

// list splits a flag's value.
func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func (o *options) check() error {
	var errs []error
	if o.once && (o.maildir == "" || o.smtp != "" || o.lmtp != "") {
		errs = append(errs, errors.New("-once is for -maildir alone: servers run until Ctrl-C"))
	}
	for _, limit := range []struct {
		flag string
		ok   bool
	}{{"-max-size", o.maxSize > 0}, {"-max-conns", o.maxConns > 0}, {"-timeout", o.timeout > 0}, {"-poll", o.poll > 0}, {"-post-time", o.postTime > 0}} {
		if !limit.ok {
			errs = append(errs, fmt.Errorf("%s must be positive", limit.flag))
		}
	}
	if o.hostname == "" {
		o.hostname = "localhost"
		if name, err := os.Hostname(); err == nil {
			o.hostname = name
		}
	}
	if strings.ContainsAny(o.hostname, " \r\n") {
		errs = append(errs, fmt.Errorf("-hostname %q: give a DNS name", o.hostname))
	}
	return errors.Join(errs...)
}

func (o *options) checkPost(e *env) error {
	if o.post == "" {
		return nil
	}
	u, err := url.Parse(o.post)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("-post %q: give an http or https URL", o.post)
	}
	o.postToken = e.getenv(tokenVar)
	return nil
}

// loadCodec reads -keys.
func (o *options) loadCodec(file string, streams []string) error {
	if file == "" {
		if len(streams) > 0 {
			return errors.New("-streams needs -keys")
		}
		return nil
	}
	if len(o.domains) != 1 {
		return errors.New("-keys needs -domain with the one domain of the return paths")
	}
	keys, err := readKeys(file)
	if err != nil {
		return fmt.Errorf("-keys: %w", err)
	}
	codec, err := bounce.NewCodec(bounce.CodecConfig{Keys: keys, Domain: o.domains[0], Streams: streams})
	if err != nil {
		return fmt.Errorf("-keys %s: %w", file, err)
	}
	o.codec = codec
	return nil
}

// loadWishes reads -unsubscribe-keys.
func (o *options) loadWishes(file string) error {
	if file == "" {
		return nil
	}
	keys, err := readKeys(file)
	if err != nil {
		return fmt.Errorf("-unsubscribe-keys: %w", err)
	}
	if o.wishes, err = unsubscribe.NewKeyring(keys...); err != nil {
		return fmt.Errorf("-unsubscribe-keys %s: %w", file, err)
	}
	return nil
}

// readKeys reads the lines of a file.
func readKeys(file string) (keys [][]byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" {
			keys = append(keys, []byte(line))
		}
	}
	return keys, lines.Err()
}
