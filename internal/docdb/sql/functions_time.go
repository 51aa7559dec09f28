package sql

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// timeFunctions work on texts like 2020-07-03T00:00:00.0000000Z, always UTC. A tick is 100 ns; ticks and
// milliseconds are counted from 1970. The time of a run does not move while it runs.
var timeFunctions = map[string]function{
	"DATETIMEADD":         {least: 3, most: 3, f: dateTimeAdd},
	"DATETIMEBIN":         {least: 2, most: 4, f: dateTimeBin},
	"DATETIMEDIFF":        {least: 3, most: 3, f: dateTimeDiff},
	"DATETIMEFROMPARTS":   {least: 3, most: 7, f: dateTimeFromParts},
	"DATETIMEPART":        {least: 2, most: 2, f: func(a []value) value { return timePart(a[0].s, a[1]) }},
	"DATETIMEFORMAT":      {least: 2, most: 2, f: dateTimeFormat},
	"DATETIMETOTICKS":     onTime(func(t int64) value { return integer(t) }),
	"DATETIMETOTIMESTAMP": onTime(func(t int64) value { return integer(floorDiv(t, 10_000)) }),
	"TICKSTODATETIME":     {least: 1, most: 1, f: func(a []value) value { return timeOf(a[0], 1) }},
	"TIMESTAMPTODATETIME": {least: 1, most: 1, f: func(a []value) value { return timeOf(a[0], 10_000) }},
	"YEAR":                {least: 1, most: 1, f: func(a []value) value { return timePart("year", a[0]) }},
	"MONTH":               {least: 1, most: 1, f: func(a []value) value { return timePart("month", a[0]) }},
	"DAY":                 {least: 1, most: 1, f: func(a []value) value { return timePart("day", a[0]) }},

	"GETCURRENTDATETIME":        current(timeValue),
	"GETCURRENTTICKS":           current(integer),
	"GETCURRENTTIMESTAMP":       current(func(t int64) value { return integer(floorDiv(t, 10_000)) }),
	"GETCURRENTDATETIMESTATIC":  current(timeValue),
	"GETCURRENTTICKSSTATIC":     current(integer),
	"GETCURRENTTIMESTAMPSTATIC": current(func(t int64) value { return integer(floorDiv(t, 10_000)) }),
	"NOW":                       {most: 2, inRun: func(r *run, a []value) (value, error) { return fromNow(r, a, 1), nil }},
	"AGO":                       {least: 2, most: 2, inRun: func(r *run, a []value) (value, error) { return fromNow(r, a, -1), nil }},
}

// The range of times: the years 1 to 9999, in ticks from 1970.
const (
	ticksPerSecond = 10_000_000
	leastTicks     = -62_135_596_800 * ticksPerSecond
	mostTicks      = 253_402_300_800*ticksPerSecond - 1
)

// ticksOf is a time in ticks from 1970.
func ticksOf(t time.Time) int64 { return t.Unix()*ticksPerSecond + int64(t.Nanosecond()/100) }

// clock is the time that is so many ticks from 1970.
func clock(ticks int64) time.Time {
	seconds := floorDiv(ticks, ticksPerSecond)
	return time.Unix(seconds, (ticks-seconds*ticksPerSecond)*100).UTC()
}

// timeValue writes a time; outside of the range there is none.
func timeValue(ticks int64) value {
	if ticks < leastTicks || ticks > mostTicks {
		return undefined
	}
	return text(clock(ticks).Format("2006-01-02T15:04:05.0000000Z"))
}

// floorDiv divides and rounds down, also below zero.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

// parseTime reads YYYY-MM-DD, or that with "T" or a blank and hh:mm:ss and up to seven digits of a
// second; a "Z" may follow. It returns ticks.
func parseTime(s string) (int64, bool) {
	s = strings.TrimSuffix(s, "Z")
	layout := "2006-01-02"
	if len(s) > len(layout) {
		layout = "2006-01-02T15:04:05"
		if s[10] == ' ' {
			layout = "2006-01-02 15:04:05"
		}
		if n := len(s) - len(layout); n > 0 {
			if n < 2 || n > 8 || s[len(layout)] != '.' {
				return 0, false
			}
			layout += "." + strings.Repeat("0", n-1)
		}
	}
	if len(s) != len(layout) {
		return 0, false
	}
	t, err := time.Parse(layout, s)
	if err != nil || t.Year() < 1 {
		return 0, false
	}
	return ticksOf(t), true
}

// onTime is a function of one time, undefined for what is none.
func onTime(f func(ticks int64) value) function {
	return function{least: 1, most: 1, f: ofTypes(func(a []value) value {
		t, ok := parseTime(a[0].s)
		if !ok {
			return undefined
		}
		return f(t)
	}, stringType)}
}

// current is a function of the time of the run.
func current(f func(ticks int64) value) function {
	return function{inRun: func(r *run, _ []value) (value, error) { return f(ticksOf(r.now)), nil }}
}

// timeOf is the time that a number of units of so many ticks stands for.
func timeOf(v value, unit int64) value {
	n, ok := v.int64()
	if !ok || n < leastTicks/unit || n > mostTicks/unit {
		return undefined
	}
	return timeValue(n * unit)
}

// timeUnits are the names of the parts of a time. Years and months have no fixed length: they are
// counted in months.
var timeUnits = func() map[string]timeUnit {
	all := map[string]timeUnit{}
	for names, unit := range map[string]timeUnit{
		"year yyyy yy": {months: 12}, "month mm m": {months: 1}, "day dd d": {ticks: 86400 * ticksPerSecond}, "hour hh": {ticks: 3600 * ticksPerSecond},
		"minute mi n": {ticks: 60 * ticksPerSecond}, "second ss s": {ticks: ticksPerSecond}, "millisecond ms": {ticks: ticksPerSecond / 1000},
		"microsecond mcs": {ticks: ticksPerSecond / 1_000_000}, "nanosecond ns": {nanoseconds: true},
	} {
		for name := range strings.FieldsSeq(names) {
			all[name] = unit
		}
	}
	return all
}()

// timeUnit is the length of a part of a time, in one of these measures.
type timeUnit struct {
	months      int64
	ticks       int64
	nanoseconds bool
}

// monthsOf is the number of months from the year 0 to a time.
func monthsOf(t time.Time) int64 { return int64(t.Year())*12 + int64(t.Month()) - 1 }

// timePart is a part of a time as a number. The parts of a second are counted from the second on.
func timePart(part string, v value) value {
	unit, ok := timeUnits[part]
	ticks, also := parseTime(v.s)
	if !ok || !also || v.typ != stringType {
		return undefined
	}
	t := clock(ticks)
	fraction := ticks - floorDiv(ticks, ticksPerSecond)*ticksPerSecond
	switch {
	case unit.nanoseconds:
		return integer(fraction * 100)
	case unit.months == 12:
		return integer(int64(t.Year()))
	case unit.months == 1:
		return integer(int64(t.Month()))
	case unit.ticks < ticksPerSecond:
		return integer(fraction / unit.ticks)
	}
	return integer(map[int64]int64{86400: int64(t.Day()), 3600: int64(t.Hour()), 60: int64(t.Minute()), 1: int64(t.Second())}[unit.ticks/ticksPerSecond])
}

// dateTimeAdd adds so many of a part.
func dateTimeAdd(a []value) value {
	n, ok := a[1].int64()
	ticks, also := parseTime(a[2].s)
	if !ok || !also || a[0].typ != stringType || a[2].typ != stringType {
		return undefined
	}
	return addTime(ticks, a[0].s, n)
}

// addTime adds so many of a part. A day that a month does not have is its last one.
func addTime(ticks int64, part string, n int64) value {
	unit, ok := timeUnits[part]
	switch {
	case !ok || n > mostTicks-leastTicks || n < leastTicks-mostTicks:
		return undefined
	case unit.nanoseconds:
		return timeValue(ticks + n/100)
	case unit.months > 0:
		return addMonths(clock(ticks), n, unit.months)
	case n > (mostTicks-leastTicks)/unit.ticks || n < (leastTicks-mostTicks)/unit.ticks:
		return undefined
	}
	return timeValue(ticks + n*unit.ticks)
}

// addMonths adds n times so many months and keeps the day within its month.
func addMonths(t time.Time, n, unit int64) value {
	if n > 120_000 || n < -120_000 {
		return undefined
	}
	months := monthsOf(t) + n*unit
	if months < 12 || months >= 10_000*12 {
		return undefined
	}
	year, month := int(months/12), time.Month(months%12+1)
	last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return timeValue(ticksOf(time.Date(year, month, min(t.Day(), last), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)))
}

// dateTimeDiff counts the borders between parts that lie between two times.
func dateTimeDiff(a []value) value {
	from, ok := parseTime(a[1].s)
	to, also := parseTime(a[2].s)
	unit, known := timeUnits[a[0].s]
	switch {
	case !ok || !also || !known || a[0].typ != stringType || a[1].typ != stringType || a[2].typ != stringType:
		return undefined
	case unit.nanoseconds:
		return arithmetic["*"](integer(to-from), integer(100))
	case unit.months > 0:
		return integer(monthsOf(clock(to))/unit.months - monthsOf(clock(from))/unit.months)
	}
	return integer(floorDiv(to, unit.ticks) - floorDiv(from, unit.ticks))
}

// windowsEpoch is the year 1601, before which no bins begin.
const windowsEpoch = -11_644_473_600 * ticksPerSecond

// dateTimeBin is where the bin of a time begins; bins are so many of a part long and are counted from an
// origin, by default 1970.
func dateTimeBin(a []value) value {
	t, ok := parseTime(a[0].s)
	size, whole := optional(a, 2, integer(1)).int64()
	origin, also := parseTime(optional(a, 3, text("1970-01-01")).s)
	unit, known := timeUnits[a[1].s]
	switch {
	case !ok || !whole || !also || !known || a[0].typ != stringType || a[1].typ != stringType || size <= 0 || origin < windowsEpoch:
		return undefined
	case unit.months > 0:
		return monthBin(t, origin, size, unit.months)
	case unit.nanoseconds:
		unit.ticks, size = 1, max(size/100, 1)
	}
	if size > (mostTicks-leastTicks)/unit.ticks {
		return undefined
	}
	size *= unit.ticks
	return timeValue(origin + floorDiv(t-origin, size)*size)
}

// monthBin is dateTimeBin for bins of months and years.
func monthBin(t, origin, size, unit int64) value {
	if size > 120_000 {
		return undefined
	}
	start := clock(origin)
	months := floorDiv(monthsOf(clock(t))-monthsOf(start), size*unit) * size * unit
	bin := addMonths(start, months, 1)
	if begins, ok := parseTime(bin.s); ok && begins > t {
		return addMonths(start, months-size*unit, 1)
	}
	return bin
}

// dateTimeFromParts makes a time of a year, a month, a day, and, if given, an hour, a minute, a second and
// ticks. What is no time is undefined.
func dateTimeFromParts(a []value) value {
	n := [7]int64{}
	least, most := [7]int64{1, 1, 1}, [7]int64{9999, 12, 31, 23, 59, 59, ticksPerSecond - 1}
	for i, v := range a {
		var ok bool
		if n[i], ok = v.int64(); !ok || n[i] < least[i] || n[i] > most[i] {
			return undefined
		}
	}
	t := time.Date(int(n[0]), time.Month(n[1]), int(n[2]), int(n[3]), int(n[4]), int(n[5]), int(n[6])*100, time.UTC)
	if t.Day() != int(n[2]) {
		return undefined
	}
	return timeValue(ticksOf(t))
}

// fromNow is the time of the run, or one that is so many of a part away from it.
func fromNow(r *run, a []value, sign int64) value {
	if len(a) == 0 {
		return timeValue(ticksOf(r.now))
	}
	n, ok := optional(a, 1, undefined).int64()
	if !ok || a[0].typ != stringType || n == math.MinInt64 {
		return undefined
	}
	return addTime(ticksOf(r.now), a[0].s, sign*n)
}

// dateTimeFormat writes a time by a pattern: yyyy MM dd HH mm ss, one to seven f for digits of a second, F
// for the same without the zeros at their end. A backslash makes the next character stand for itself,
// as all others do.
func dateTimeFormat(a []value) value {
	ticks, ok := parseTime(a[0].s)
	if !ok || a[0].typ != stringType || a[1].typ != stringType {
		return undefined
	}
	var b strings.Builder
	for rest := a[1].s; rest != ""; {
		n := len(rest) - len(strings.TrimLeft(rest, rest[:1]))
		part, known := formatPart(clock(ticks), ticks, rest[0], n)
		switch {
		case rest[0] == '\\' && len(rest) > 1:
			part, n = rest[1:2], 2
		case !known:
			part = rest[:n]
		}
		b.WriteString(part)
		rest = rest[n:]
	}
	return text(b.String())
}

// formatPart writes n times the same letter of a pattern; known is false when that means nothing.
func formatPart(t time.Time, ticks int64, letter byte, n int) (part string, known bool) {
	switch strings.Repeat(string(letter), min(n, 8)) {
	case "yyyy":
		return t.Format("2006"), true
	case "MM":
		return t.Format("01"), true
	case "dd":
		return t.Format("02"), true
	case "HH":
		return t.Format("15"), true
	case "mm":
		return t.Format("04"), true
	case "ss":
		return t.Format("05"), true
	}
	if letter|0x20 != 'f' || n > 7 {
		return "", false
	}
	digits := strconv.FormatInt(ticks-floorDiv(ticks, ticksPerSecond)*ticksPerSecond+ticksPerSecond, 10)[1 : n+1]
	if letter == 'F' {
		digits = strings.TrimRight(digits, "0")
	}
	return digits, true
}
