// Command sink is a fast SMTP receiver to measure senders against. It prints its
// address, then statistics as JSON for each line "stats" or "reset" on its
// standard input, and ends with that input.
//
//	go run ./internal/bench/cmd/sink -addr 127.0.0.1:2525
package main

import (
	"flag"
	"log"
	"os"
	"strings"

	"github.com/volleymail/volley/internal/bench/sink"
)

func main() {
	var o sink.Options
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on")
	without := flag.String("without", "", "EHLO keywords to leave out, separated by commas")
	flag.DurationVar(&o.RTT, "rtt", 0, "round trip time to simulate")
	flag.BoolVar(&o.Track, "track", false, "count duplicates")
	flag.Parse()
	o.Without = strings.FieldsFunc(*without, func(r rune) bool { return r == ',' || r == ' ' })
	if err := sink.Control(os.Stdin, os.Stdout, *addr, o); err != nil {
		log.Fatal(err)
	}
}
