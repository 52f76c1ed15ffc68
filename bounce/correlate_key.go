package bounce

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
)

// How a token holds a key: whatever unpackKey gives is what packKey was given.
const (
	kindText    = iota // as it is
	kindDecimal        // a number: big-endian, without leading zeros
	kindUUID           // 16 octets
	kindKey            // of Codec.Key
)

const keyOctets = 10

func packKey(s string) (kind byte, data []byte) {
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && strconv.FormatUint(n, 10) == s {
		data = binary.BigEndian.AppendUint64(nil, n)
		for len(data) > 0 && data[0] == 0 {
			data = data[1:]
		}
		return kindDecimal, data
	}
	if u, ok := packUUID(s); ok {
		return kindUUID, u
	}
	if k, err := tokenEncoding.DecodeString(s); err == nil && len(k) == keyOctets && tokenEncoding.EncodeToString(k) == s {
		return kindKey, k
	}
	return kindText, []byte(s)
}

func unpackKey(kind byte, data []byte) string {
	switch kind {
	case kindDecimal:
		var n [8]byte
		copy(n[max(0, 8-len(data)):], data)
		return strconv.FormatUint(binary.BigEndian.Uint64(n[:]), 10)
	case kindUUID:
		return formatUUID(data)
	case kindKey:
		return tokenEncoding.EncodeToString(data)
	}
	return string(data)
}

// packUUID takes the form of RFC 9562 §4, in lower case.
func packUUID(s string) ([]byte, bool) {
	if len(s) != 36 {
		return nil, false
	}
	u, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	return u, err == nil && len(u) == 16 && formatUUID(u) == s
}

func formatUUID(u []byte) string {
	s := hex.EncodeToString(u)
	if len(s) != 32 {
		return s
	}
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
