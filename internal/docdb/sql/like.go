package sql

import "strings"

// likeItem is one element of a LIKE pattern: any run, any character, a set, or one character.
type likeItem struct {
	run, any bool
	set      []rune // of [set] and [^set]; ranges are written with "-"
	negated  bool
	char     rune
}

// parseLike reads a pattern: "%" any run, "_" any character, "[abc]", "[a-f]", "[^abc]". A bracket
// without its end, and what stands behind the escape character, means itself.
func parseLike(pattern, escape string) (items []likeItem) {
	runes := []rune(pattern)
	for i := 0; i < len(runes); i++ {
		switch c := runes[i]; {
		case escape != "" && string(c) == escape && i+1 < len(runes):
			i++
			items = append(items, likeItem{char: runes[i]})
		case c == '%':
			items = append(items, likeItem{run: true})
		case c == '_':
			items = append(items, likeItem{any: true})
		case c == '[' && setEnd(runes, i) > 0:
			end := setEnd(runes, i)
			set := runes[i+1 : end]
			negated := set[0] == '^' && len(set) > 1
			if negated {
				set = set[1:]
			}
			items = append(items, likeItem{set: set, negated: negated})
			i = end
		default:
			items = append(items, likeItem{char: c})
		}
	}
	return items
}

// setEnd returns where the set that begins at open ends, 0 when it does not or is empty.
func setEnd(runes []rune, open int) int {
	for i := open + 2; i < len(runes); i++ {
		if runes[i] == ']' {
			return i
		}
	}
	return 0
}

// matches tests one character; a run is not asked.
func (l *likeItem) matches(c rune) bool {
	switch {
	case l.any:
		return true
	case l.set != nil:
		return inSet(l.set, c) != l.negated
	}
	return c == l.char
}

// inSet reports whether a character is in a set like "a-fxyz".
func inSet(set []rune, c rune) bool {
	for i := 0; i < len(set); i++ {
		if i+2 < len(set) && set[i+1] == '-' {
			if set[i] <= c && c <= set[i+2] {
				return true
			}
			i += 2
		} else if set[i] == c {
			return true
		}
	}
	return false
}

// matchLike goes back to the last run only, so it takes time in the product of the lengths at most;
// every move is a step of the run.
func (r *run) matchLike(s string, items []likeItem) (bool, error) {
	if prefix, ok := plainPrefix(items); ok {
		return strings.HasPrefix(s, prefix), nil
	}
	runes := []rune(s)
	i, j, back, mark := 0, 0, -1, 0
	for i < len(runes) {
		if err := r.spend(1); err != nil {
			return false, err
		}
		switch {
		case j < len(items) && items[j].run:
			back, mark = j, i
			j++
		case j < len(items) && items[j].matches(runes[i]):
			i, j = i+1, j+1
		case back >= 0:
			mark++
			i, j = mark, back+1
		default:
			return false, nil
		}
	}
	for j < len(items) && items[j].run {
		j++
	}
	return j == len(items), nil
}

// plainPrefix returns the text before the "%" of a pattern that is nothing but a prefix.
func plainPrefix(items []likeItem) (string, bool) {
	if len(items) == 0 || !items[len(items)-1].run {
		return "", false
	}
	var b strings.Builder
	for _, item := range items[:len(items)-1] {
		if item.run || item.any || item.set != nil {
			return "", false
		}
		b.WriteRune(item.char)
	}
	return b.String(), true
}
