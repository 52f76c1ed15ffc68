package bounce

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func BenchmarkParse(b *testing.B) {
	var mails [][]byte
	for _, row := range readMails(b, "sisimai") {
		data, err := os.ReadFile(filepath.Join(corpusDir(b), row.File))
		require.NoError(b, err)
		mails = append(mails, data)
	}
	r := bytes.NewReader(nil)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		r.Reset(mails[i%len(mails)])
		if _, err := Parse(r); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
}
