package suppress

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/volleymail/volley/bounce"
)

// columns is the first row that WriteCSV writes.
var columns = []string{"email", "stream", "reason", "category", "source", "created_at", "expires_at"}

// WriteCSV writes entries as CSV (RFC 4180, lines end in LF): a first row with
// the columns' names, then a row for each entry. Reason is the Cause; times are
// RFC 3339 in UTC; a category Unknown and a time that is zero are empty.
// ReadCSV gives back the same entries. The first error of entries or w ends it.
func WriteCSV(w io.Writer, entries iter.Seq2[Entry, error]) error {
	out := csv.NewWriter(w)
	if err := out.Write(columns); err != nil {
		return fmt.Errorf("suppress: %w", err)
	}
	row := make([]string, len(columns))
	for e, err := range entries {
		if err != nil {
			out.Flush()
			return err
		}
		category := ""
		if e.Category != bounce.Unknown {
			category = e.Category.String()
		}
		row = append(row[:0], e.Address, e.Stream, e.Cause.String(), category, e.Source, formatTime(e.Time), formatTime(e.Expires))
		if err := out.Write(row); err != nil {
			return fmt.Errorf("suppress: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("suppress: %w", err)
	}
	return nil
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// Export writes the list as WriteCSV does.
func (l *List) Export(ctx context.Context, w io.Writer) error { return WriteCSV(w, l.store.All(ctx)) }
