package bounce

// The statuses of what happens on our side, where no server said a word. The
// default rules know each of them at the stage named; what they make of it
// stands behind the arrow.
var (
	StatusSuppressed = Status{5, 1, 0}  // StageLocal: held back, on a suppression list -> Suppressed
	StatusBadAddress = Status{5, 1, 3}  // StageLocal: not an address -> InvalidMailbox
	StatusTooLarge   = Status{5, 3, 4}  // StageLocal: more than the server's SIZE (RFC 1870) -> MessageTooLarge
	StatusMalformed  = Status{5, 6, 0}  // StageLocal: the message could not be rendered or signed -> ContentRejected
	StatusNeedsUTF8  = Status{5, 6, 7}  // StageLocal: the server lacks SMTPUTF8 (RFC 6531 §3.2) -> ProtocolError
	StatusNoDomain   = Status{5, 1, 2}  // StageDNS: NXDOMAIN, or neither MX nor address -> InvalidDomain
	StatusNullMX     = Status{5, 1, 10} // StageDNS: "MX 0 ." (RFC 7505) -> InvalidDomain
	StatusDNS        = Status{4, 4, 3}  // StageDNS: SERVFAIL, timeout -> DNSFailure
	StatusNoAnswer   = Status{4, 4, 1}  // StageConnect: refused, timed out, no route -> ConnectionFailure
	StatusLost       = Status{4, 4, 2}  // any later stage: reset, closed, timed out -> ConnectionFailure
	StatusTLS        = Status{4, 7, 5}  // StageTLS: handshake, certificate, DANE or MTA-STS -> TLSFailure
	StatusExpired    = Status{4, 4, 7}  // any stage: the lifetime is over -> Expired
)

// Local returns the Reply for what happened instead of a server's answer, for
// example Local(StageDNS, StatusNoDomain, "no such domain"). Its Code is 0.
// A lost or refused connection classifies as ConnectionFailure at every stage,
// also with the zero Status.
func Local(stage Stage, status Status, text string) Reply {
	return Reply{Stage: stage, Status: status, Text: text}
}
