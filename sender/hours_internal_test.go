package sender

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// at reads a time such as "2026-03-29 01:59:59 +0100".
func at(t *testing.T, s string) time.Time {
	t.Helper()
	when, err := time.Parse("2006-01-02 15:04:05.999999999 -0700", s)
	require.NoError(t, err)
	return when
}

func TestHoursNext(t *testing.T) {
	office := Hours{From: 9 * time.Hour, To: 17 * time.Hour}
	working := Hours{From: 9 * time.Hour, To: 17 * time.Hour, Days: []time.Weekday{1, 2, 3, 4, 5}}
	night := Hours{From: 22 * time.Hour, To: 2 * time.Hour}
	fridayNight := Hours{From: 22 * time.Hour, To: 2 * time.Hour, Days: []time.Weekday{time.Friday}}
	hour2 := Hours{From: 2 * time.Hour, To: 3 * time.Hour}
	half2 := Hours{From: 2*time.Hour + 30*time.Minute, To: 4 * time.Hour}
	for _, tt := range []struct {
		name      string
		hours     Hours
		zone      string
		now, want string // want "" = now
	}{
		{"open", office, "", "2026-11-21 12:00:00 +0000", ""},
		{"first moment", office, "", "2026-11-21 09:00:00 +0000", ""},
		{"before it", office, "", "2026-11-21 08:59:59.999999999 +0000", "2026-11-21 09:00:00 +0000"},
		{"last moment", office, "", "2026-11-21 16:59:59.999999999 +0000", ""},
		{"closed", office, "", "2026-11-21 17:00:00 +0000", "2026-11-22 09:00:00 +0000"},
		{"the recipient's clock", office, "America/New_York", "2026-11-21 12:00:00 +0000", "2026-11-21 14:00:00 +0000"},
		{"their yesterday", office, "America/Los_Angeles", "2026-11-21 00:30:00 +0000", ""},
		{"their tomorrow", office, "Pacific/Kiritimati", "2026-11-21 11:00:00 +0000", "2026-11-21 19:00:00 +0000"},
		{"half-hour zone", office, "Asia/Kolkata", "2026-11-21 03:29:59 +0000", "2026-11-21 03:30:00 +0000"},
		{"quarter-hour zone", office, "Asia/Kathmandu", "2026-11-21 02:00:00 +0000", "2026-11-21 03:15:00 +0000"},
		{"Hours.Zone", Hours{From: 9 * time.Hour, To: 17 * time.Hour, Zone: "Asia/Tokyo"}, "", "2026-11-21 12:00:00 +0000", "2026-11-22 00:00:00 +0000"},
		{"the message's zone goes before it", Hours{From: 9 * time.Hour, To: 17 * time.Hour, Zone: "Asia/Tokyo"}, "UTC", "2026-11-21 12:00:00 +0000", ""},

		{"weekend", working, "", "2026-11-20 17:00:00 +0000", "2026-11-23 09:00:00 +0000"},
		{"end of a year", working, "", "2026-12-31 17:00:00 +0000", "2027-01-01 09:00:00 +0000"},
		{"leap day", office, "", "2028-02-28 18:00:00 +0000", "2028-02-29 09:00:00 +0000"},
		{"after a leap day", office, "", "2028-02-29 18:00:00 +0000", "2028-03-01 09:00:00 +0000"},
		{"no leap day", office, "", "2100-02-28 18:00:00 +0000", "2100-03-01 09:00:00 +0000"},
		{"once a week", Hours{From: 9 * time.Hour, To: 10 * time.Hour, Days: []time.Weekday{time.Saturday}}, "", "2026-11-21 10:00:00 +0000", "2026-11-28 09:00:00 +0000"},

		{"over midnight, evening", night, "", "2026-11-21 23:00:00 +0000", ""},
		{"over midnight, morning", night, "", "2026-11-21 01:59:59 +0000", ""},
		{"over midnight, day", night, "", "2026-11-21 02:00:00 +0000", "2026-11-21 22:00:00 +0000"},
		{"a night belongs to the day it begins on", fridayNight, "", "2026-11-21 01:00:00 +0000", ""},
		{"not to the day it ends on", fridayNight, "", "2026-11-20 01:00:00 +0000", "2026-11-20 22:00:00 +0000"},
		{"Saturday is none", fridayNight, "", "2026-11-21 22:00:00 +0000", "2026-11-27 22:00:00 +0000"},
		{"zero", Hours{}, "", "2026-11-21 00:00:00 +0000", ""},
		{"whole day", Hours{To: day}, "", "2026-11-21 23:59:59.999999999 +0000", ""},
		{"up to midnight", Hours{From: 9 * time.Hour, To: day}, "", "2026-11-22 00:00:00 +0000", "2026-11-22 09:00:00 +0000"},
		{"0 is midnight too", Hours{From: 9 * time.Hour}, "", "2026-11-22 00:00:00 +0000", "2026-11-22 09:00:00 +0000"},
		{"24h from 9", Hours{From: 9 * time.Hour, To: 9 * time.Hour, Days: []time.Weekday{time.Saturday}}, "", "2026-11-22 08:59:00 +0000", ""},
		{"24h from 9, over", Hours{From: 9 * time.Hour, To: 9 * time.Hour, Days: []time.Weekday{time.Saturday}}, "", "2026-11-22 09:00:00 +0000", "2026-11-28 09:00:00 +0000"},
		{"whole days only", Hours{Days: []time.Weekday{time.Monday}}, "", "2026-11-24 00:00:00 +0000", "2026-11-30 00:00:00 +0000"},

		{"night of a clock put forward", office, "Europe/Berlin", "2026-03-28 17:00:00 +0100", "2026-03-29 09:00:00 +0200"},
		{"night of a clock put back", office, "Europe/Berlin", "2026-10-24 17:00:00 +0200", "2026-10-25 09:00:00 +0100"},
		{"an hour that is left out", hour2, "Europe/Berlin", "2026-03-29 00:00:00 +0100", "2026-03-30 02:00:00 +0200"},
		{"a beginning that is left out", half2, "Europe/Berlin", "2026-03-29 00:00:00 +0100", "2026-03-29 03:00:00 +0200"},
		{"an hour that comes twice", hour2, "Europe/Berlin", "2026-10-25 02:59:59 +0200", ""},
		{"comes the second time", hour2, "Europe/Berlin", "2026-10-25 02:00:00 +0100", ""},
		{"is over", hour2, "Europe/Berlin", "2026-10-25 03:00:00 +0100", "2026-10-26 02:00:00 +0100"},
		{"closed between the two", half2, "Europe/Berlin", "2026-10-25 02:15:00 +0100", "2026-10-25 02:30:00 +0100"},
		{"the end comes twice", Hours{From: 1 * time.Hour, To: 2*time.Hour + 30*time.Minute}, "Europe/Berlin", "2026-10-25 02:45:00 +0200", "2026-10-25 02:00:00 +0100"},
		{"midnight is left out", Hours{To: 6 * time.Hour}, "America/Sao_Paulo", "2017-10-14 20:00:00 -0300", "2017-10-15 01:00:00 -0200"},
		{"the hour before midnight comes twice", Hours{To: time.Hour, Days: []time.Weekday{time.Sunday}}, "America/Sao_Paulo", "2018-02-17 23:30:00 -0200", "2018-02-18 00:00:00 -0300"},
		{"half an hour left out", Hours{From: 2*time.Hour + 15*time.Minute, To: 3 * time.Hour}, "Australia/Lord_Howe", "2026-10-04 01:00:00 +1030", "2026-10-04 02:30:00 +1100"},
		{"a whole day left out", Hours{From: 9 * time.Hour, To: 10 * time.Hour}, "Pacific/Apia", "2011-12-29 10:00:00 -1000", "2011-12-31 09:00:00 +1400"},
		{"a Friday left out", Hours{From: 9 * time.Hour, To: 10 * time.Hour, Days: []time.Weekday{time.Friday}}, "Pacific/Apia", "2011-12-29 10:00:00 -1000", "2012-01-06 09:00:00 +1400"},
		{"southern summer", office, "America/Santiago", "2026-01-10 17:00:00 -0300", "2026-01-11 09:00:00 -0300"},
		{"far future", office, "Europe/Berlin", "2999-07-01 17:00:00 +0200", "2999-07-02 09:00:00 +0200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := at(t, tt.now)
			want := now
			if tt.want != "" {
				want = at(t, tt.want)
			}
			got, err := tt.hours.next(now, tt.zone)
			require.NoError(t, err)
			require.Equal(t, want.UTC(), got.UTC())
			require.Equal(t, now.Location(), got.Location())
			again, err := tt.hours.next(got, tt.zone)
			require.NoError(t, err)
			require.True(t, again.Equal(got), "an opening is open")
		})
	}
}

func TestHoursUnknownZone(t *testing.T) {
	h := Hours{From: 9 * time.Hour, To: 17 * time.Hour}
	for _, zone := range []string{"Europe/Belin", "CEST+2", "../etc/passwd", "/etc/localtime", strings.Repeat("x", 5000), "a\x00b"} {
		_, err := h.next(time.Unix(0, 0), zone)
		require.EqualError(t, err, fmt.Sprintf("Message.Zone: %q is no time zone that is known: give a name of the IANA database, such as Europe/Berlin", zone))
	}
}

func TestHoursMistakes(t *testing.T) {
	_, err := New(Config{Hostname: "mail.sender.example", Streams: map[string]Stream{
		"news":  {Hours: &Hours{From: -1, To: 25 * time.Hour, Days: []time.Weekday{1, 7, -1}, Zone: "Moon/Tycho"}},
		"late":  {Hours: &Hours{From: 24 * time.Hour, To: -time.Hour}},
		"right": {Hours: &Hours{From: 9 * time.Hour, To: 24 * time.Hour, Days: []time.Weekday{6}, Zone: "Asia/Tokyo"}},
	}})
	require.EqualError(t, err, `sender: Config.Streams["late"].Hours.From is 24h0m0s: it is a time of day, from 0 to less than 24h
sender: Config.Streams["late"].Hours.To is -1h0m0s: it is a time of day, from 0 to 24h; one that is not after From is on the next day
sender: Config.Streams["news"].Hours.From is -1ns: it is a time of day, from 0 to less than 24h
sender: Config.Streams["news"].Hours.To is 25h0m0s: it is a time of day, from 0 to 24h; one that is not after From is on the next day
sender: Config.Streams["news"].Hours.Days has 7: days are from time.Sunday (0) to time.Saturday (6)
sender: Config.Streams["news"].Hours.Days has -1: days are from time.Sunday (0) to time.Saturday (6)
sender: Config.Streams["news"].Hours.Zone: "Moon/Tycho" is no time zone that is known: give a name of the IANA database, such as Europe/Berlin`)
}

// FuzzHours looks at each minute up to the opening: none may be open, as a
// person reads it off the recipient's clock.
func FuzzHours(f *testing.F) {
	names := []string{"", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Africa/Casablanca",
		"Asia/Kathmandu", "Pacific/Apia", "America/St_Johns", "Antarctica/Troll", "America/Sao_Paulo", "Asia/Pyongyang"}
	f.Add(int64(1774746000), uint8(1), uint16(150), uint16(240), uint8(0x7f)) // 2026-03-29 01:00 UTC
	f.Add(int64(1792890000), uint8(1), uint16(60), uint16(150), uint8(0))
	f.Add(int64(1325239200), uint8(7), uint16(540), uint16(540), uint8(0x20))
	f.Add(int64(1775257200), uint8(3), uint16(1380), uint16(105), uint8(0x41))
	f.Fuzz(func(t *testing.T, unix int64, zone uint8, from, to uint16, days uint8) {
		const years150 = 150 * 366 * 86400
		now := time.Unix(unix%years150, 0).UTC() // 1820 to 2120
		name := names[int(zone)%len(names)]
		h := &Hours{From: time.Duration(from%1440) * time.Minute, To: time.Duration(to%1441) * time.Minute}
		for d := time.Sunday; d <= time.Saturday; d++ {
			if days&(1<<d) != 0 {
				h.Days = append(h.Days, d)
			}
		}
		got, err := h.next(now, name)
		require.NoError(t, err)
		loc, err := time.LoadLocation(name)
		require.NoError(t, err)
		require.True(t, shown(h, got.In(loc)), "%v is closed", got.In(loc))
		require.False(t, got.Before(now))
		if got.After(now) {
			require.False(t, shown(h, got.Add(-1).In(loc)), "open right before %v", got.In(loc))
		}
		for m := now; m.Before(got); m = m.Add(time.Minute) {
			if shown(h, m.In(loc)) {
				t.Fatalf("%v is open, next says %v", m.In(loc), got.In(loc))
			}
		}
	})
}

// shown reports whether a clock that shows t is within the hours.
func shown(h *Hours, t time.Time) bool {
	minutes := t.Hour()*60 + t.Minute() // From and To of the test are whole minutes
	from, to := int(h.From.Minutes()), int(h.To.Minutes())
	today, yesterday := h.on(t.Weekday()), h.on((t.Weekday()+6)%7)
	if from < to {
		return today && minutes >= from && minutes < to
	}
	return today && minutes >= from || yesterday && minutes < to
}

func BenchmarkHours(b *testing.B) {
	h := &Hours{From: 9 * time.Hour, To: 17 * time.Hour}
	now := time.Date(2026, 3, 28, 22, 0, 0, 0, time.UTC)
	for b.Loop() {
		if _, err := h.next(now, "Europe/Berlin"); err != nil {
			b.Fatal(err)
		}
	}
}
