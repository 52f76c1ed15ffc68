package dkim_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/volleymail/volley/dkim"
)

// exampleKey is the key printed in RFC 8463: never use it for mail.
const exampleKey = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----`

const mail = "From: Shop <news@shop.example>\r\n" +
	"To: ann@example.net\r\n" +
	"Subject: Offers\r\n" +
	"List-Unsubscribe: <https://shop.example/u/1>\r\n" +
	"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" +
	"\r\n" +
	"Hello Ann\r\n"

var signingTime = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func newSigner(domain, selector string) *dkim.Signer {
	key, err := dkim.ParseKey([]byte(exampleKey))
	if err != nil {
		panic(err)
	}
	signer, err := dkim.New(domain, selector, key, nil)
	if err != nil {
		panic(err)
	}
	return signer
}

func ExampleNew() {
	key, err := dkim.ParseKey([]byte(exampleKey))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = dkim.New("bücher.example", "s 1", key, &dkim.Options{Identity: "@shop.example"})
	fmt.Println(err)
	// Output:
	// dkim: selector "s 1": has the character ' '; only letters, digits and hyphens are allowed
	// dkim: Options.Identity "@shop.example": is not in the signing domain xn--bcher-kva.example
}

func ExampleSigner_Sign() {
	signer := newSigner("shop.example", "s1")
	field, err := signer.Sign(signingTime, "bounce@shop.example", []string{"ann@example.net"}, []byte(mail))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(strings.ReplaceAll(string(field)+mail, "\r\n", "\n"))
	// Output:
	// DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=shop.example;
	//  s=s1; t=1795262400; x=1795521600; h=From:From:Sender:Reply-To:To:To:Cc:
	//  Subject:Subject:Date:Message-ID:MIME-Version:Content-Type:List-Unsubscribe:
	//  List-Unsubscribe:List-Unsubscribe-Post:List-Unsubscribe-Post;
	//  bh=DnwaVSvx5fkPESmXntgbKG0ZY+UZ4cm5gHehxzfRqhE=; b=oE8wgZ0dzMzOEDPpiVGX5NAuKl
	//  41y6fcLeTn1VcZUXh214VHcaQBGv0B8KA1JaxktLmXNFPMfSLJBD6FWyWgAw==
	// From: Shop <news@shop.example>
	// To: ann@example.net
	// Subject: Offers
	// List-Unsubscribe: <https://shop.example/u/1>
	// List-Unsubscribe-Post: List-Unsubscribe=One-Click
	//
	// Hello Ann
}

func ExampleJoin() {
	both := dkim.Join(newSigner("shop.example", "s1"), newSigner("esp.example", "shop"))
	fields, err := both.Sign(signingTime, "", nil, []byte(mail))
	fmt.Println(strings.Count(string(fields), "DKIM-Signature:"), err)
	// Output: 2 <nil>
}

func ExampleParseKey() {
	_, err := dkim.ParseKey([]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	if e, ok := errors.AsType[*dkim.KeyError](err); ok && e.Problem == dkim.KeyEncrypted {
		fmt.Println(err)
	}
	// Output: dkim: the private key is encrypted: "openssl pkey -in KEY -out PLAIN" removes the passphrase
}

func ExampleSigner_Records() {
	for _, r := range newSigner("shop.example", "s1").Records() {
		fmt.Println(r.Name)
		fmt.Println(r.Value)
	}
	// Output:
	// s1._domainkey.shop.example
	// v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
}

func ExampleRecord_Strings() {
	r := dkim.Record{Value: strings.Repeat("x", 300)}
	for _, s := range r.Strings() {
		fmt.Println(len(s))
	}
	// Output:
	// 255
	// 45
}

func ExampleRecord_Zone() {
	fmt.Println(newSigner("shop.example", "s1").Records()[0].Zone())
	// Output: s1._domainkey.shop.example. IN TXT ( "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=" )
}

func ExampleSigner_Check() {
	// In a program: new(net.Resolver).LookupTXT
	lookupTXT := func(ctx context.Context, name string) ([]string, error) {
		return []string{"v=DKIM1; k=ed25519; t=y; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}, nil
	}
	err := newSigner("shop.example", "s1").Check(context.Background(), lookupTXT)
	fmt.Println(err)
	if e, ok := errors.AsType[*dkim.RecordError](err); ok {
		fmt.Println("usable:", e.Usable())
	}
	// Output:
	// dkim: s1._domainkey.shop.example: marked as a test: remove y from t= when all is well
	// usable: true
}

func ExampleCheckRecord() {
	var key crypto.PublicKey = make(ed25519.PublicKey, ed25519.PublicKeySize)
	fmt.Println(dkim.CheckRecord([]string{"v=DKIM1; k=ed25519; p="}, key))
	// Output: dkim: the key is revoked: p= is empty
}
