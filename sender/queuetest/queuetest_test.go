package queuetest

import (
	"reflect"
	"testing"

	"github.com/volleymail/volley/sender"
	"github.com/volleymail/volley/sender/sendertest"
)

func TestQueueOfSendertest(t *testing.T) {
	Run(t, func(t *testing.T) Open {
		q := sendertest.NewQueue()
		t.Cleanup(func() {
			for _, v := range q.Violations() {
				t.Error(v)
			}
		})
		return func(bool) sender.Queue {
			for _, v := range q.Violations() {
				t.Error(v)
			}
			q = q.Reopen()
			return q
		}
	})
}

// TestEveryField: a field that is added to what a Queue keeps needs a place in
// the tests too.
func TestEveryField(t *testing.T) {
	m := full(base)
	for _, v := range []any{*m, envelope(m), *m.DSN, someReply, someClass, *attempt(base)} {
		rv := reflect.ValueOf(v)
		for i := range rv.NumField() {
			name := rv.Type().Field(i).Name
			switch {
			case !rv.Type().Field(i).IsExported() || name == "Content" || name == "Data" || name == "Permanent":
			case rv.Field(i).IsZero():
				t.Errorf("%T.%s is not set in the tests", v, name)
			}
		}
	}
	results := manyResults()
	for i := range reflect.TypeFor[sender.Result]().NumField() {
		f := reflect.TypeFor[sender.Result]().Field(i)
		set := !f.IsExported() || f.Name == "Message" || f.Name == "Recipient"
		for _, r := range results {
			set = set || !reflect.ValueOf(r).Field(i).IsZero()
		}
		if !set {
			t.Errorf("Result.%s is not set in the tests", f.Name)
		}
	}
}
