package sealfs

import (
	"path"
	"strconv"
	"strings"
)

// class is the layout of a file. The values are part of the format.
type class uint8

const (
	classPlain  class = 0 // no content at all; never in a header
	classBlock  class = 1
	classRecord class = 2
)

// kind is what a file is for, as far as its name must not be exchangeable. The values are part of
// the format.
type kind uint32

const (
	kindOther    kind = 0 // may be renamed freely within its class
	kindTable    kind = 1 // NNNNNN.sst
	kindBlob     kind = 2 // NNNNNN.blob
	kindLog      kind = 3 // NNNNNN.log
	kindManifest kind = 4 // MANIFEST-NNNNNN
	kindAudit    kind = 5 // NNNNNN.rlog
)

// role is all that a file's name says about its content.
type role struct {
	class  class
	kind   kind
	number uint64
}

// padded reports whether files of the role are synced so often that they are written into zeros: see
// padding.
func (r role) padded() bool { return r.kind == kindLog || r.kind == kindAudit }

// version is the format version in which files of the role are written.
func (r role) version() uint8 {
	if r.padded() {
		return version2
	}
	return version1
}

// byExtension lists the numbered files whose number comes before the extension.
var byExtension = map[string]role{
	".sst":  {class: classBlock, kind: kindTable},
	".blob": {class: classBlock, kind: kindBlob},
	".log":  {class: classRecord, kind: kindLog},
	".rlog": {class: classRecord, kind: kindAudit},
}

// roleOf derives the role from a file's base name. Names that look like a numbered file without
// being one keep the class and lose the kind.
func roleOf(base string) role {
	if base == "LOCK" || strings.HasPrefix(base, "marker.") {
		return role{class: classPlain}
	}
	if digits, ok := strings.CutPrefix(base, "MANIFEST-"); ok {
		return numbered(role{class: classRecord, kind: kindManifest}, digits)
	}
	ext := path.Ext(base)
	if r, ok := byExtension[ext]; ok {
		return numbered(r, strings.TrimSuffix(base, ext))
	}
	return role{class: classBlock}
}

func numbered(r role, digits string) role {
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return role{class: r.class}
	}
	r.number = n
	return r
}
