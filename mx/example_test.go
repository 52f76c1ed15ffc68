package mx_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"
	"github.com/volleymail/volley/mx"
)

// records is the DNS of the examples.
var records = map[string]string{
	"example.com. MX":    "MX 10 mx1.example.com.;MX 20 mx2.example.com.",
	"mx1.example.com. A": "A 192.0.2.1",
	"mx2.example.com. A": "A 192.0.2.2",
	"null.example. MX":   "MX 0 .",
}

// fromMemory is an Exchange for tests: it answers from records.
func fromMemory(_ context.Context, _, _ string, query *dns.Msg) (*dns.Msg, error) {
	reply := new(dns.Msg).SetReply(query)
	q := query.Question[0]
	for data := range strings.SplitSeq(records[q.Name+" "+dns.TypeToString[q.Qtype]], ";") {
		if data == "" {
			continue
		}
		rr, err := dns.NewRR(q.Name + " 300 IN " + data)
		if err != nil {
			return nil, err
		}
		reply.Answer = append(reply.Answer, rr)
	}
	return reply, nil
}

func ExampleNew() {
	resolver, err := mx.New(mx.Config{
		// Without Servers, those of /etc/resolv.conf are asked;
		// without Exchange, over the net.
		Servers:  []string{"192.0.2.53"},
		Exchange: fromMemory,
		Self:     []string{"mx2.example.com"}, // our own server is the backup of example.com
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	route, err := resolver.Lookup(context.Background(), "example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, host := range route.Hosts {
		fmt.Println(host.Preference, host.Name, host.Addrs)
	}
	// Output: 10 mx1.example.com [192.0.2.1]
}

func ExampleDNS_Lookup() {
	resolver, err := mx.New(mx.Config{Servers: []string{"192.0.2.53"}, Exchange: fromMemory})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, domain := range []string{"Example.COM", "[192.0.2.25]", "null.example", "192.0.2.25"} {
		route, err := resolver.Lookup(context.Background(), domain)
		if e, ok := errors.AsType[*mx.Error](err); ok {
			fmt.Printf("%v, temporary: %t\n", e.Failure, e.Temporary())
			fmt.Println(" ", e)
			continue
		}
		fmt.Println(route.Domain, "goes to", route.Site)
	}
	// Output:
	// example.com goes to (mx1|mx2).example.com
	// [192.0.2.25] goes to [192.0.2.25]
	// null MX, temporary: false
	//   mx: null.example takes no mail (null MX, RFC 7505)
	// bad domain, temporary: false
	//   mx: "192.0.2.25" is not a domain: it ends in a number; an address is written [192.0.2.1] or [IPv6:2001:db8::1]
}
