// Command signpack checks a pack of profiles or bounce rules and signs it for
// package livepack.
//
//	openssl genpkey -algorithm ed25519 -out key.pem
//	signpack -key key.pem profiles < profiles.toml > profiles.pack
//
// Without arguments it shows what happens to packs, good and forged.
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/volleymail/volley/bounce"
	"github.com/volleymail/volley/sender/livepack"
	"github.com/volleymail/volley/throttle"
)

func main() {
	key := flag.String("key", "key.pem", "file with the private key, PEM")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: signpack [-key key.pem] profiles|rules < pack.toml > signed.pack\n       signpack (a demonstration)")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 && flag.NFlag() == 0 {
		if err := demo(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "signpack:", err)
			os.Exit(1)
		}
		return
	}
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := sign(*key, flag.Arg(0), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "signpack:", err)
		os.Exit(1)
	}
}

// sign writes the pack with its signature, if it is one that an Updater takes.
func sign(keyFile, kind string, in io.Reader, out io.Writer) error {
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	key, err := livepack.ParsePrivateKey(text)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	target, err := targetOf(kind)
	if err != nil {
		return err
	}
	pack, err := target.Prepare(data)
	if err != nil {
		return err
	}
	if _, err := out.Write(livepack.Sign(data, key)); err != nil {
		return err
	}
	public := key.Public().(ed25519.PublicKey)
	fmt.Fprintf(os.Stderr, "signed %s %s; public key %s\n", kind, pack.Version, base64.StdEncoding.EncodeToString(public))
	return nil
}

func targetOf(kind string) (livepack.Target, error) {
	switch kind {
	case "profiles":
		return livepack.Profiles(throttle.Profiles(), throttle.Clamp{}), nil
	case "rules":
		return livepack.Rules(func(*bounce.Rules) {}, livepack.RuleClamp{}), nil
	}
	return livepack.Target{}, fmt.Errorf("unknown kind of pack %q: use profiles or rules", kind)
}
