package sealfs

import (
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Class says how a file is laid out.
type Class string

// The classes.
const (
	Plain  Class = "plain"  // without content, not sealed; also directories
	Block  Class = "block"  // blocks for reading in any order
	Record Class = "record" // records that are appended
)

var classNames = map[class]Class{classPlain: Plain, classBlock: Block, classRecord: Record}

// Kind says what a numbered file is for.
type Kind string

// The kinds.
const (
	Other    Kind = "other" // not bound to a number
	Table    Kind = "table"
	Blob     Kind = "blob"
	Log      Kind = "log"
	Manifest Kind = "manifest"
	Audit    Kind = "audit"
)

var kindNames = map[kind]Kind{
	kindOther: Other, kindTable: Table, kindBlob: Blob, kindLog: Log, kindManifest: Manifest, kindAudit: Audit,
}

// Info says what a file is.
type Info struct {
	Class  Class
	Kind   Kind
	Number uint64
	KeyID  KeyID    // the data key; zero for plain files
	FileID [32]byte // drawn at the file's creation; zero for plain files
	// Size is the number of plaintext bytes, computed from the file's length or its records' lengths;
	// only opening the file proves it. DescribeClear leaves it 0.
	Size int64
	// Physical is the number of bytes on disk.
	Physical int64
}

func (h *header) info() Info {
	k, ok := kindNames[h.role.kind]
	if !ok {
		k = Other
	}
	return Info{
		Class: classNames[h.role.class], Kind: k, Number: h.role.number, KeyID: h.keyID, FileID: h.fileID,
	}
}

func (s *sealed) info(size int64) Info {
	i := s.header.info()
	i.Size = size
	return i
}

// Describe authenticates the header of the named file, and nothing else, and tells what it says. It
// returns [ErrNoHeader] for a file whose creation was interrupted.
func (fs *FS) Describe(name string) (Info, error) {
	f, i, err := openClear(fs.base, name)
	if err != nil || i.Class == Plain {
		return i, errors.Join(err, closeAll(f))
	}
	defer f.Close()
	s := &sealed{fs: fs, base: f, name: fs.base.PathBase(name)}
	if err := s.readHeader(roleOf(s.name)); err != nil {
		return Info{}, err
	}
	i.Size, err = statSize(f, i.Physical)
	return i, err
}

// DescribeClear tells what the header of the named file of base says. It needs no key and
// authenticates nothing: it is for finding out which data keys the files of a directory name.
// It returns [ErrNoHeader] for a file whose creation was interrupted.
func DescribeClear(base vfs.FS, name string) (Info, error) {
	f, i, err := openClear(base, name)
	return i, errors.Join(err, closeAll(f))
}

func closeAll(files ...vfs.File) (err error) {
	for _, f := range files {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// openClear opens a base file and reads its header. The file is nil if it could not be opened.
func openClear(base vfs.FS, name string) (vfs.File, Info, error) {
	f, err := base.Open(name)
	if err != nil {
		return nil, Info{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return f, Info{}, err
	}
	if r := roleOf(base.PathBase(name)); r.class == classPlain || info.IsDir() {
		return f, Info{Class: Plain, Kind: Other, Physical: info.Size()}, nil
	}
	raw, err := readRaw(f)
	if err != nil {
		return f, Info{}, err
	}
	h, reason := parseHeader(raw)
	if allZero(raw) || len(raw) < headerSize {
		return f, Info{}, ErrNoHeader
	}
	if reason != "" {
		return f, Info{}, &IntegrityError{File: base.PathBase(name), Block: HeaderBlock, Reason: reason}
	}
	i := h.info()
	i.Physical = info.Size()
	return f, i, nil
}

// readRaw reads as much of a header as there is.
func readRaw(f io.ReaderAt) ([]byte, error) {
	raw := make([]byte, headerSize)
	n, err := f.ReadAt(raw, 0)
	return raw[:n], notEOF(err)
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
