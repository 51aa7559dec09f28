package demo

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
)

// found is where a search of the disk met plaintext.
type found struct{ File, Needle string }

// searchResult is the outcome of a search of a whole directory.
type searchResult struct {
	Files int
	Bytes int64
	Found []found
}

// search looks for every needle in every file below dir. All needles have one length: each window of
// that length is looked up in a set, so that the time does not grow with their number.
func search(dir string, needles []string) (searchResult, error) {
	set := map[string]bool{}
	size := 0
	for _, n := range needles {
		set[n] = true
		size = len(n)
	}
	var r searchResult
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return ignoreMissing(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return ignoreMissing(err)
		}
		r.Files++
		r.Bytes += int64(len(raw))
		for _, n := range windows(raw, size, set) {
			r.Found = append(r.Found, found{File: path, Needle: n})
		}
		for n := range set {
			if bytes.Contains([]byte(path), []byte(n)) {
				r.Found = append(r.Found, found{File: path, Needle: n})
			}
		}
		return nil
	})
	return r, err
}

// ignoreMissing: the server may remove a file between the listing and the reading.
func ignoreMissing(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

func windows(raw []byte, size int, set map[string]bool) []string {
	var hits []string
	for i := 0; size > 0 && i+size <= len(raw); i++ {
		if set[string(raw[i:i+size])] {
			hits = append(hits, string(raw[i:i+size]))
		}
	}
	return hits
}
