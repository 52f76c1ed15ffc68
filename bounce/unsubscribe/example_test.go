package unsubscribe_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/volleymail/volley/bounce/suppress"
	"github.com/volleymail/volley/bounce/unsubscribe"
)

// Each mail carries the fields, and the handler feeds a suppression list.
func Example() {
	list, err := suppress.New(suppress.NewMemory(), nil)
	if err != nil {
		log.Fatal(err)
	}
	secret := sha256.Sum256([]byte("32 random bytes from a vault, in earnest"))
	u, err := unsubscribe.New(unsubscribe.Config{
		URL:     "https://shop.example/unsubscribe",
		Mailto:  "unsubscribe@shop.example",
		Secrets: [][]byte{secret[:]},
		Unsubscribe: func(ctx context.Context, r unsubscribe.Request) error {
			return list.Unsubscribe(ctx, suppress.Event{Recipient: r.Address, Stream: r.Stream, Time: r.Time, Source: "one click"})
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/unsubscribe/", u)

	links, err := u.Links("ann@example.com", "news", time.Now())
	if err != nil {
		log.Fatal(err)
	}
	token := links.URL[strings.LastIndexByte(links.URL, '/')+1:]
	fmt.Print(strings.NewReplacer(token, "TOKEN", "\r", "").Replace(links.Headers()))

	// What Ann's mail provider does when she clicks.
	r := httptest.NewRequest(http.MethodPost, links.URL, strings.NewReader("List-Unsubscribe=One-Click"))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code)
	_, suppressed, err := list.Suppressed(context.Background(), "ann@example.com", "news")
	fmt.Println(suppressed, err)
	// Output:
	// List-Unsubscribe: <https://shop.example/unsubscribe/TOKEN>,
	//  <mailto:unsubscribe@shop.example?subject=unsubscribe%20TOKEN>
	// List-Unsubscribe-Post: List-Unsubscribe=One-Click
	// 200
	// true <nil>
}

// A mail to the address of Config.Mailto has the token in its subject.
func ExampleKeyring_Find() {
	keys, err := unsubscribe.NewKeyring([]byte("32 random bytes from a vault, in earnest"))
	if err != nil {
		log.Fatal(err)
	}
	sealed, err := keys.Seal(unsubscribe.Token{Address: "ann@example.com", Stream: "news"})
	if err != nil {
		log.Fatal(err)
	}
	token, err := keys.Find("Re: unsubscribe "+sealed, time.Now())
	fmt.Println(token.Address, token.Stream, err)
	_, err = keys.Find("unsubscribe me", time.Now())
	fmt.Println(err)
	// Output:
	// ann@example.com news <nil>
	// unsubscribe: the token is not one of ours, or damaged
}
