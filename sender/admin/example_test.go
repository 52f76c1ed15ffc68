package admin_test

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/admin"
)

// Only who knows the password gets through. Serve it with TLS, on an address of an
// internal network.
func ExampleHandler() {
	s, err := sender.New(sender.Config{Hostname: "mail.shop.example", Streams: map[string]sender.Stream{"news": {}}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	password := sha256.Sum256([]byte("a long one, from a vault"))
	protected := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, given, _ := r.BasicAuth()
			if sum := sha256.Sum256([]byte(given)); subtle.ConstantTimeCompare(sum[:], password[:]) != 1 {
				w.Header().Set("WWW-Authenticate", `Basic realm="volley"`)
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
	mux := http.NewServeMux()
	mux.Handle("/volley/", protected(http.StripPrefix("/volley", admin.Handler(s))))

	r := httptest.NewRequest(http.MethodPost, "/volley/suspend", strings.NewReader(`{"streams": ["news"]}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code)

	r = httptest.NewRequest(http.MethodPost, "/volley/suspend", strings.NewReader(`{"streams": ["news"]}`))
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth("ann", "a long one, from a vault")
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code)
	// Output:
	// 401
	// 200
}
