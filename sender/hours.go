package sender

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Hours are the times of day at which a recipient's first attempt and retries
// may start, by the recipient's own clock: {From: 9 * time.Hour, To: 20 *
// time.Hour} is from 9:00 up to 20:00, on the days when clocks are changed too.
// Mail that is due at another time waits for the next opening.
type Hours struct {
	// From and To are times of the clock, since midnight: From up to 24h, To up
	// to and with 24h. A To that is not after From is on the next day: from 20h
	// to 2h is the evening and two hours of the night, from 0 to 0 the whole day.
	From, To time.Duration

	// Days are those on which the hours begin. nil = every day.
	Days []time.Weekday

	// Zone counts for messages without a Message.Zone: a name of the IANA time
	// zone database, such as "Europe/Berlin". "" = UTC. Programs for systems
	// without that database import time/tzdata.
	Zone string
}

const day = 24 * time.Hour

func (h *Hours) check(name string, bad func(string, ...any)) {
	if h.From < 0 || h.From >= day {
		bad("%s.From is %v: it is a time of day, from 0 to less than 24h", name, h.From)
	}
	if h.To < 0 || h.To > day {
		bad("%s.To is %v: it is a time of day, from 0 to 24h; one that is not after From is on the next day", name, h.To)
	}
	for _, d := range h.Days {
		if d < time.Sunday || d > time.Saturday {
			bad("%s.Days has %d: days are from time.Sunday (0) to time.Saturday (6)", name, d)
		}
	}
	if _, err := loadZone(h.Zone); err != nil {
		bad("%s.Zone: %w", name, err)
	}
}

// next returns the earliest moment, not before now, at which mail may start:
// now itself or an opening. zone is the recipient's, "" for h.Zone.
//
// Between two changes of a zone's offset clocks run evenly, so it goes from
// change to change until the opening lies before the next.
func (h *Hours) next(now time.Time, zone string) (time.Time, error) {
	field := "Message.Zone"
	if zone == "" {
		field, zone = "Stream.Hours.Zone", h.Zone
	}
	loc, err := loadZone(zone)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", field, err)
	}
	for t := now.In(loc); ; {
		opening := t.Add(h.wait(clock(t)))
		_, change := t.ZoneBounds()
		if change.IsZero() || opening.Before(change) {
			return opening.In(now.Location()), nil
		}
		t = change
	}
}

// clock is what a clock on the wall shows at t.
func clock(t time.Time) (time.Weekday, time.Duration) {
	hour, minute, second := t.Clock()
	return t.Weekday(), time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute +
		time.Duration(second)*time.Second + time.Duration(t.Nanosecond())
}

// wait returns how long a clock that shows at on that day will run until mail
// may start, 0 if it may now.
func (h *Hours) wait(today time.Weekday, at time.Duration) time.Duration {
	length := h.To - h.From
	if length <= 0 {
		length += day
	}
	yesterday := (today + 6) % 7
	if h.on(yesterday) && at+day < h.From+length {
		return 0
	}
	if h.on(today) && at >= h.From && at < h.From+length {
		return 0
	}
	wait := h.From - at
	for d := today; wait <= 0 || !h.on(d); d = (d + 1) % 7 {
		wait += day
	}
	return wait
}

func (h *Hours) on(d time.Weekday) bool { return len(h.Days) == 0 || slices.Contains(h.Days, d) }

// zones keeps time zones that were read: time.LoadLocation reads them anew each
// time. It holds maxZones, more than there are.
var zones struct {
	sync.RWMutex
	m map[string]*time.Location // guarded by the RWMutex
}

const maxZones = 1000

// loadZone returns a time zone by its IANA name; "" is UTC.
func loadZone(name string) (*time.Location, error) {
	zones.RLock()
	loc := zones.m[name]
	zones.RUnlock()
	if loc != nil {
		return loc, nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		if _, err := time.LoadLocation("Europe/London"); err != nil {
			return nil, fmt.Errorf(`%q cannot be read: the system has no time zone database: install it, or import _ "time/tzdata"`, name)
		}
		return nil, fmt.Errorf("%q is no time zone that is known: give a name of the IANA database, such as Europe/Berlin", name)
	}
	zones.Lock()
	defer zones.Unlock()
	if zones.m == nil {
		zones.m = map[string]*time.Location{}
	}
	if len(zones.m) < maxZones {
		zones.m[name] = loc
	}
	return loc, nil
}
