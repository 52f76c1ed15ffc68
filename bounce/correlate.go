package bounce

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Ref names what a report is about.
type Ref struct {
	Campaign  string // the caller's key of the campaign or message
	Recipient string // the caller's key of the recipient, or Codec.Key of his address
	Stream    string // one of CodecConfig.Streams, "" if there are none
}

// CodecConfig configures a Codec.
type CodecConfig struct {
	// Keys sign and verify. The first one signs; the others are former or coming
	// ones, so that keys can be changed while reports are under way. Each has 16
	// octets or more, random; at least one is required.
	Keys [][]byte
	// AddressKey is the key of Codec.Key; nil = Keys[0], with which every Key
	// then changes.
	AddressKey []byte
	// Domain is that of the return paths and message-ids. Required.
	Domain string
	// Prefix begins the local part of return paths; "" = "bounces+".
	Prefix string
	// Streams are the names that Ref.Stream can have, at most 255. A token holds
	// the index: names may be added at the end, not moved. nil = none.
	Streams []string
	// Lifetime of a token, rounded up to whole days; 0 = 60 days, for complaints
	// come late. At most 10 years.
	Lifetime time.Duration
}

// Codec makes and reads signed tokens that name campaign, recipient and stream
// of a message: in its return path (VERP, with a signature), Message-ID, ENVID
// (RFC 3461 §4.4) or CFBL-Feedback-ID (RFC 9477 §3.2). A report that comes back
// tells by them what it is about even if every address in it is redacted; one
// that was made up does not. It does not change and may be used by any number of
// goroutines.
type Codec struct {
	cfg  CodecConfig
	days int
}

// The faults of a token.
var (
	ErrNoToken = errors.New("bounce: no token")                            // not of this Codec's form
	ErrForged  = errors.New("bounce: token is signed by none of the keys") // or was altered
	ErrExpired = errors.New("bounce: token has expired")
	ErrTooLong = errors.New("bounce: campaign and recipient keys are too long for a token")
)

const (
	maxLocalPart = 64 // octets, RFC 5321 §4.5.3.1.1
	tokenMAC     = 10 // octets of HMAC-SHA-256 that are kept: 80 bits
	tokenHead    = 4  // octets: day of expiry, stream, kinds and length
	minKey       = 16
	defaultDays  = 60
	maxDays      = 3660
)

// tokenEncoding survives servers that change the case of a local part.
var tokenEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewCodec returns a Codec, or an error that names each mistake in cfg.
func NewCodec(cfg CodecConfig) (*Codec, error) {
	var errs []error
	if len(cfg.Keys) == 0 {
		errs = append(errs, errors.New("bounce: CodecConfig.Keys is empty"))
	}
	for i, k := range cfg.Keys {
		if len(k) < minKey {
			errs = append(errs, fmt.Errorf("bounce: CodecConfig.Keys[%d] has %d octets, want %d or more", i, len(k), minKey))
		}
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "bounces+"
	}
	if cfg.Prefix = strings.ToLower(cfg.Prefix); strings.ContainsAny(cfg.Prefix, " @<>\"\r\n") || len(cfg.Prefix) > 24 {
		errs = append(errs, fmt.Errorf("bounce: CodecConfig.Prefix %q can't begin a local part", cfg.Prefix))
	}
	if cfg.Domain == "" || strings.ContainsAny(cfg.Domain, " @<>\r\n") {
		errs = append(errs, fmt.Errorf("bounce: CodecConfig.Domain %q is no domain", cfg.Domain))
	}
	if len(cfg.Streams) > 255 {
		errs = append(errs, fmt.Errorf("bounce: CodecConfig.Streams has %d names, want at most 255", len(cfg.Streams)))
	}
	days := int((cfg.Lifetime + 24*time.Hour - 1) / (24 * time.Hour))
	if cfg.Lifetime == 0 {
		days = defaultDays
	}
	if days < 1 || days > maxDays {
		errs = append(errs, fmt.Errorf("bounce: CodecConfig.Lifetime is %v, want up to 10 years", cfg.Lifetime))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if cfg.AddressKey == nil {
		cfg.AddressKey = cfg.Keys[0]
	}
	cfg.Keys, cfg.Streams = slices.Clone(cfg.Keys), slices.Clone(cfg.Streams)
	return &Codec{cfg: cfg, days: days}, nil
}

// ReturnPath returns the address for MAIL FROM, such as
// "bounces+aeo4...@example.com". Its local part has up to 64 octets, which with
// the default prefix leaves 21 for the two keys: a decimal number takes a few, a
// UUID 16, a Codec.Key 10, anything else its length. The error is ErrTooLong, or
// says that the stream is unknown.
func (c *Codec) ReturnPath(ref Ref, now time.Time) (string, error) {
	token, err := c.Token(ref, now)
	if err != nil {
		return "", err
	}
	return c.cfg.Prefix + token + "@" + c.cfg.Domain, nil
}

// MessageID returns a Message-ID with its angle brackets. It is the same for the
// same ref on the same day: a campaign sends one message to a recipient.
func (c *Codec) MessageID(ref Ref, now time.Time) (string, error) {
	token, err := c.Token(ref, now)
	if err != nil {
		return "", err
	}
	return "<" + token + "@" + c.cfg.Domain + ">", nil
}

// Token returns the bare token, for ENVID and CFBL-Feedback-ID: lower-case
// letters and digits. Errors as for ReturnPath.
func (c *Codec) Token(ref Ref, now time.Time) (string, error) {
	stream := slices.Index(c.cfg.Streams, ref.Stream) + 1
	if stream == 0 && ref.Stream != "" {
		return "", fmt.Errorf("bounce: stream %q is not one of CodecConfig.Streams", ref.Stream)
	}
	campaignKind, campaign := packKey(ref.Campaign)
	recipientKind, recipient := packKey(ref.Recipient)
	room := tokenEncoding.DecodedLen(maxLocalPart-len(c.cfg.Prefix)) - tokenHead - tokenMAC
	if campaignKind != kindUUID && len(campaign) > 15 || len(campaign)+len(recipient) > room {
		return "", ErrTooLong
	}
	data := make([]byte, 0, maxLocalPart)
	data = binary.BigEndian.AppendUint16(data, uint16(dayOf(now)+c.days))
	// The length has four bits; a UUID goes without.
	data = append(data, byte(stream), campaignKind<<6|recipientKind<<4|byte(len(campaign)&15))
	data = append(append(data, campaign...), recipient...)
	data = append(data, sign(c.cfg.Keys[0], data)...)
	return tokenEncoding.EncodeToString(data), nil
}

func sign(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("volley token 1\x00"))
	h.Write(data)
	return h.Sum(nil)[:tokenMAC]
}

// dayOf counts the days since 2020.
func dayOf(t time.Time) int {
	return max(0, int(t.Sub(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))/(24*time.Hour)))
}

// Open reads a return path, a message-id or a bare token. The error is
// ErrNoToken, ErrForged or ErrExpired; with ErrExpired the Ref is the token's.
func (c *Codec) Open(s string, now time.Time) (Ref, error) {
	s = strings.ToLower(strings.Trim(s, "<> \t"))
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = s[:i]
	}
	s = strings.TrimPrefix(s, c.cfg.Prefix)
	data, err := tokenEncoding.DecodeString(s)
	if err != nil || len(data) < tokenHead+tokenMAC || len(s) > maxLocalPart || tokenEncoding.EncodeToString(data) != s {
		return Ref{}, ErrNoToken
	}
	body, mac := data[:len(data)-tokenMAC], data[len(data)-tokenMAC:]
	if !slices.ContainsFunc(c.cfg.Keys, func(key []byte) bool { return hmac.Equal(mac, sign(key, body)) }) {
		return Ref{}, ErrForged
	}
	ref, ok := c.unpack(body)
	if !ok {
		return Ref{}, ErrNoToken // of another version, or with a stream that is gone
	}
	if int(binary.BigEndian.Uint16(body)) < dayOf(now) {
		return ref, ErrExpired
	}
	return ref, nil
}

func (c *Codec) unpack(body []byte) (ref Ref, ok bool) {
	stream, kinds, keys := int(body[2]), body[3], body[4:]
	if stream > len(c.cfg.Streams) {
		return Ref{}, false
	}
	if stream > 0 {
		ref.Stream = c.cfg.Streams[stream-1]
	}
	n := int(kinds & 15)
	if kinds>>6 == kindUUID {
		n = 16
	}
	if n > len(keys) {
		return Ref{}, false
	}
	ref.Campaign = unpackKey(kinds>>6, keys[:n])
	ref.Recipient = unpackKey(kinds>>4&3, keys[n:])
	return ref, true
}

// Find returns what a report is about, by the first good token in it: the
// address that it was sent to, its envelope id, the original's return path,
// feedback id or message-id. It reports false if there is none, or only forged
// and expired ones.
func (c *Codec) Find(rep *Report, now time.Time) (Ref, bool) {
	candidates := append([]string{}, rep.SentTo...)
	candidates = append(candidates, rep.EnvelopeID, rep.FeedbackID, rep.Original.Get("CFBL-Feedback-ID"))
	candidates = append(candidates, strings.Split(rep.FeedbackID, ":")...)
	candidates = append(candidates, rep.MessageID, rep.Original.Get("Message-ID"))
	candidates = append(candidates, addresses(rep.Original.Get("Return-Path"))...)
	if rep.Feedback != nil {
		candidates = append(candidates, rep.Feedback.OriginalMailFrom)
	}
	for _, s := range candidates {
		if ref, err := c.Open(s, now); err == nil {
			return ref, true
		}
	}
	return Ref{}, false
}

// Key returns a short key for an address, by CodecConfig.AddressKey: 16
// lower-case letters and digits that say nothing about the address to others.
// Case makes no difference.
func (c *Codec) Key(address string) string {
	h := hmac.New(sha256.New, c.cfg.AddressKey)
	h.Write([]byte("volley address 1\x00" + strings.ToLower(address)))
	return tokenEncoding.EncodeToString(h.Sum(nil)[:keyOctets])
}
