package load

import (
	"math"
	"math/bits"
	"time"
)

// Histogram counts durations in classes that are 1/64 wide, from a microsecond on.
type Histogram struct {
	counts [64 * 40]uint64
	total  uint64
	sum    time.Duration
	max    time.Duration
}

// Add counts a duration.
func (h *Histogram) Add(d time.Duration) {
	h.counts[class(d)]++
	h.total++
	h.sum += d
	h.max = max(h.max, d)
}

// class is the number of the class of a duration: below 128 microseconds one for each, then 64 for each doubling.
func class(d time.Duration) int {
	us := uint64(max(0, d.Microseconds()))
	if us < 128 {
		return int(us)
	}
	shift := bits.Len64(us) - 7
	return min(shift*64+int(us>>shift), 64*40-1)
}

// upper is the greatest duration of a class.
func upper(class int) time.Duration {
	if class < 128 {
		return time.Duration(class) * time.Microsecond
	}
	shift := class/64 - 1
	return time.Duration((uint64(class-shift*64)+1)<<shift-1) * time.Microsecond
}

// Merge adds what another one has counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// Quantile is the duration that a share of those counted do not exceed, at most 1/64 too long.
func (h *Histogram) Quantile(share float64) time.Duration {
	want, seen := uint64(math.Ceil(share*float64(h.total))), uint64(0)
	for i, n := range h.counts {
		if seen += n; seen >= want && n > 0 {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// Mean is the average.
func (h *Histogram) Mean() time.Duration {
	if h.total == 0 {
		return 0
	}
	return h.sum / time.Duration(h.total)
}
