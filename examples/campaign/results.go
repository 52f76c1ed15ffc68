package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/volleymail/volley/sender"
)

// results writes the fate of each recipient to a CSV file.
type results struct {
	file *os.File
	csv  *csv.Writer
}

var resultColumns = []string{"row", "email", "outcome", "category", "advice", "reply", "site", "attempts", "seconds", "retry_at", "error"}

// notAttempted is the outcome of recipients that were never handed to the Sender.
const notAttempted = "not-attempted"

// createResults makes the file, in the temporary folder if no name is given.
func createResults(path string) (*results, error) {
	f, err := createFile(path)
	if err != nil {
		return nil, fmt.Errorf("-out %s: %v", path, plain(err))
	}
	r := &results{file: f, csv: csv.NewWriter(f)}
	return r, r.csv.Write(resultColumns)
}

func createFile(path string) (*os.File, error) {
	if path == "" {
		return os.CreateTemp("", "volley-results-*.csv")
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// write adds a result. Errors show up in close.
func (r *results) write(row int, res *sender.Result) {
	line := []string{strconv.Itoa(row), res.Recipient, res.Outcome.String(), "", "", res.Reply.String(), res.Site,
		strconv.Itoa(res.Attempts), strconv.FormatFloat(res.Elapsed.Seconds(), 'f', 3, 64), "", ""}
	if res.Outcome != sender.Sent {
		reason, advice := why(res.Class, res.Reply)
		line[3], line[4] = reason, advice.String()
		line[10] = res.Err.Error()
	}
	if !res.RetryAt.IsZero() {
		line[9] = res.RetryAt.Format(time.RFC3339)
	}
	_ = r.csv.Write(line)
}

// writeLeft adds a recipient that was never handed to the Sender.
func (r *results) writeLeft(row int, email string) {
	_ = r.csv.Write([]string{strconv.Itoa(row), email, notAttempted, "", "", "", "", "0", "0", "", ""})
}

func (r *results) flush() { r.csv.Flush() }

// sync returns when what was written would survive a crash.
func (r *results) sync() error {
	r.csv.Flush()
	return r.about(errors.Join(r.csv.Error(), r.file.Sync()))
}

func (r *results) close() error {
	r.csv.Flush()
	return r.about(errors.Join(r.csv.Error(), r.file.Sync(), r.file.Close()))
}

// about says which file an error is about.
func (r *results) about(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("-out %s: %v", r.file.Name(), plain(err))
}
