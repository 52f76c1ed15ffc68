package bounce

import "testing"

// benchReplies are replies as a campaign meets them, with rules near the head
// and the end of the pack.
var benchReplies = []Reply{
	{Stage: StageRcpt, Code: 550, Status: Status{5, 1, 1}, Host: "gmail-smtp-in.l.google.com", Text: "The email account that you tried to reach does not exist. Please try\ndouble-checking the recipient's email address for typos or\nunnecessary spaces. For more information, go to\nhttps://support.google.com/mail/?p=NoSuchUser a640c23a62f3a-ab2c96000c7si40.22 - gsmtp"},
	{Stage: StageBody, Code: 421, Status: Status{4, 7, 28}, Host: "gmail-smtp-in.l.google.com", Text: "Gmail has detected an unusual rate of unsolicited mail originating\nfrom your IP address. To protect our users from spam, mail sent\nfrom your IP address has been temporarily rate limited. For more\ninformation, go to https://support.google.com/mail/?p=UnsolicitedRateLimitError - gsmtp"},
	{Stage: StageRcpt, Code: 450, Status: Status{4, 2, 0}, Host: "mx.example.org", Text: "<a@example.org>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/example.org.html"},
	{Stage: StageRcpt, Code: 550, Status: Status{5, 1, 1}, Host: "mx.example.org", Text: "<a@example.org>: Recipient address rejected: User unknown in virtual mailbox table"},
	{Stage: StageRcpt, Code: 554, Status: Status{5, 7, 1}, Host: "mx.example.org", Text: "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.1"},
	{Stage: StageMail, Code: 421, Status: Status{4, 7, 0}, Host: "mta5.am0.yahoodns.net", Text: "[TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes"},
	{Stage: StageRcpt, Code: 550, Status: Status{5, 5, 0}, Host: "hotmail-com.olc.protection.outlook.com", Text: "Requested action not taken: mailbox unavailable (S2017062302). [AM4PEPF00027A5F.eurprd04.prod.outlook.com 2026-01-01T00:00:00.000Z 08DD0000]"},
	{Stage: StageRcpt, Code: 552, Status: Status{5, 2, 2}, Host: "mx.example.org", Text: "<a@example.org>: Quota exceeded (mailbox for user is full)"},
	{Stage: StageBody, Code: 550, Status: Status{5, 7, 1}, Host: "mx.example.org", Text: "Your message was rejected by our filter"},
	{Stage: StageRcpt, Code: 451, Host: "mx.example.org", Text: "Temporary local problem - please try later"},
}

func BenchmarkClassify(b *testing.B) {
	Classify(Reply{Code: 550})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		Classify(benchReplies[i%len(benchReplies)])
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "replies/s")
}

func BenchmarkParseReply(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ParseReply("550-5.1.1 The email account that you tried to reach does not exist. Please try\r\n550-5.1.1 double-checking the recipient's email address for typos or\r\n550 5.1.1 unnecessary spaces.")
	}
}

func BenchmarkCorpus(b *testing.B) {
	var texts []corpusReply
	for _, name := range corpora {
		texts = append(texts, readCorpus(b, name)...)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		row := &texts[i%len(texts)]
		Classify(row.reply())
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "replies/s")
}
