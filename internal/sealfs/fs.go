package sealfs

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// DefaultBlockSize is the plaintext size of a block. Reads are far smaller than a table, and a read
// decrypts every block that it touches: see BenchmarkReadAt for the choice.
const DefaultBlockSize = 4 << 10

// Options say how to seal.
type Options struct {
	// Keys provides the data keys; required.
	Keys Keys
	// StoreID binds every file to one store: the account's id, or a constant for the control store.
	// 1 to 255 bytes; required. Files of another store id cannot be opened.
	StoreID string
	// BlockSize is the plaintext size of a block of new block files: a power of two from 4 KiB to
	// 64 KiB; 0 means [DefaultBlockSize]. Files record theirs, so that it may change at any time.
	BlockSize int
	// Random is the source of file ids and nonces; nil means crypto/rand. Only tests may set it.
	Random io.Reader
	// OnRecordFile, if set, is called after a record file (log, manifest, audit segment) came into
	// being under its name: created, resealed or copied. The file and its directory entry are durable
	// by then, so that the owner may remember it as one that must be there. It must not call the FS.
	OnRecordFile func(name string, i Info)
	// OnSeal, if set, is called before each sealing with what must be unique. For tests.
	OnSeal func(fileID [32]byte, nonce [12]byte)
}

// FS seals every file of a base file system.
type FS struct {
	base     vfs.FS
	keys     Keys
	storeID  string
	blockLog uint8
	random   io.Reader
	onSeal   func([32]byte, [12]byte)
	onRecord func(string, Info)

	// names is held to read by whatever changes what a name means, and to write by Reseal while it
	// looks whether a name still means the file that it copied, and replaces it.
	names sync.RWMutex
	// resealing holds the one Reseal that may run: two of one name would share the scratch file.
	resealing chan struct{}
	// writing has the ids of the files that are being written through this FS.
	writing sync.Map
}

var _ vfs.FS = (*FS)(nil)

// New returns a file system that seals its files into base.
func New(base vfs.FS, o Options) (*FS, error) {
	if o.BlockSize == 0 {
		o.BlockSize = DefaultBlockSize
	}
	blockLog := bits.TrailingZeros(uint(o.BlockSize))
	switch {
	case base == nil || o.Keys == nil:
		return nil, errors.New("sealfs: base and keys are required")
	case o.StoreID == "" || len(o.StoreID) > 255:
		return nil, errors.New("sealfs: store id must have 1 to 255 bytes")
	case o.BlockSize != 1<<blockLog || blockLog < minBlockLog || blockLog > maxBlockLog:
		return nil, errors.New("sealfs: block size must be a power of two from 4 KiB to 64 KiB")
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	return &FS{
		base: base, keys: o.Keys, storeID: o.StoreID, blockLog: uint8(blockLog), random: o.Random,
		onSeal: o.OnSeal, onRecord: o.OnRecordFile, resealing: make(chan struct{}, 1),
	}, nil
}

// sealed is what all files with content share.
type sealed struct {
	fs     *FS
	base   vfs.File
	name   string // base name
	header header
	key    fileKey
	sum    [sha256.Size]byte // of the complete header; part of every associated data
	mac    [tagSize]byte     // the header's last bytes
}

func (s *sealed) damaged(block int64, reason string) error {
	return &IntegrityError{File: s.name, Block: block, Reason: reason}
}

func (s *sealed) setHeader(raw []byte) {
	s.sum = sha256.Sum256(raw)
	copy(s.mac[:], raw[macOffset:])
}

func (s *sealed) sealing(nonce [nonceSize]byte) {
	if s.fs.onSeal != nil {
		s.fs.onSeal(s.header.fileID, nonce)
	}
}

// Create implements [vfs.FS]. The header is written at once; that of a record file is durable when
// Create returns, so that a damaged one is never mistaken for a crash.
func (fs *FS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	r := roleOf(fs.base.PathBase(name))
	if r.class == classPlain {
		f, err := fs.createWith(name, category, nil)
		return wrapPlain(f, err)
	}
	f, err := fs.create(name, r, category)
	if err != nil {
		return nil, err
	}
	if err := fs.announce(name, f.info()); err != nil {
		return nil, errors.Join(err, f.abort())
	}
	return f, nil
}

// writer is a file with content that is being written.
type writer interface {
	vfs.File
	info() Info
	// abort closes the file without what makes it complete.
	abort() error
}

// create makes a file with content, of which nobody is told.
func (fs *FS) create(name string, r role, category vfs.DiskWriteCategory) (writer, error) {
	s, raw, err := fs.newSealed(name, r)
	if err != nil {
		return nil, err
	}
	fs.writing.Store(s.header.fileID, nil)
	if err := s.start(name, category, raw); err != nil {
		s.written()
		return nil, errors.Join(err, s.discard(name))
	}
	if r.class == classRecord {
		return newRecordWriter(s), nil
	}
	return newBlockWriter(s), nil
}

// discard removes a file whose header could not be made durable; base is nil if there is none.
func (s *sealed) discard(name string) error {
	if s.base == nil {
		return nil
	}
	return errors.Join(s.base.Close(), s.fs.Remove(name))
}

// written forgets that the file is being written.
func (s *sealed) written() { s.fs.writing.Delete(s.header.fileID) }

// announce tells the owner of a record file that is now there. The name of a manifest is made durable
// in any case: the engine's next step is a marker that points to it, and nothing says in which order
// two new names reach the disk.
func (fs *FS) announce(name string, i Info) error {
	tells := fs.tells(i)
	if !tells && i.Kind != Manifest {
		return nil
	}
	if err := fs.syncDir(fs.base.PathDir(name)); err != nil {
		return err
	}
	if tells {
		fs.onRecord(name, i)
	}
	return nil
}

func (fs *FS) tells(i Info) bool { return fs.onRecord != nil && i.Class == Record }

func (fs *FS) syncDir(dir string) error {
	d, err := fs.base.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// start creates the base file. No Reseal sees it without its header.
func (s *sealed) start(name string, category vfs.DiskWriteCategory, raw []byte) (err error) {
	if s.base, err = s.fs.createWith(name, category, raw); err != nil {
		return err
	}
	if s.header.role.class == classRecord {
		return s.base.Sync()
	}
	return nil
}

func (fs *FS) createWith(name string, category vfs.DiskWriteCategory, raw []byte) (vfs.File, error) {
	fs.names.RLock()
	defer fs.names.RUnlock()
	f, err := fs.base.Create(name, category)
	if err != nil {
		return nil, err
	}
	return f, writeAll(f, raw)
}

// newSealed draws the identity of a new file and derives its key.
func (fs *FS) newSealed(name string, r role) (*sealed, []byte, error) {
	s := &sealed{fs: fs, name: fs.base.PathBase(name), header: header{version: r.version(), role: r}}
	if r.class == classBlock {
		s.header.blockLog = fs.blockLog
	}
	id, dataKey, err := fs.keys.Current()
	if err != nil {
		return nil, nil, fmt.Errorf("sealfs: key for %s: %w", s.name, err)
	}
	defer clear(dataKey)
	s.header.keyID = id
	if _, err := io.ReadFull(fs.random, s.header.fileID[:]); err != nil {
		return nil, nil, fmt.Errorf("sealfs: random: %w", err)
	}
	if s.key, err = deriveKey(dataKey, &s.header, fs.storeID); err != nil {
		return nil, nil, err
	}
	s.header.check = s.key.check
	s.sealing(headerNonce)
	raw := s.header.seal(s.key)
	s.setHeader(raw)
	return s, raw, nil
}

// Open implements [vfs.FS]. It authenticates the header and the file's end; of a record file,
// every record.
func (fs *FS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.base.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	sealedFile, err := fs.open(name, f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return sealedFile, nil
}

func (fs *FS) open(name string, f vfs.File) (vfs.File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return f, nil
	}
	s := &sealed{fs: fs, base: f, name: fs.base.PathBase(name)}
	want := roleOf(s.name)
	switch want.class {
	case classPlain:
		if info.Size() != 0 {
			return nil, s.damaged(HeaderBlock, "file must be empty")
		}
		return &plainFile{File: f}, nil
	case classRecord:
		return s.openRecords(name, want, info)
	default:
		return s.openBlocks(want, info)
	}
}

// readHeader reads and authenticates the header and checks that the file is what its name says.
func (s *sealed) readHeader(want role) error {
	raw := make([]byte, headerSize)
	if n, err := s.base.ReadAt(raw, 0); n < len(raw) {
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		return s.damaged(HeaderBlock, "file is shorter than its header")
	}
	h, reason := parseHeader(raw)
	if reason == "" && h.role != want {
		reason = "file was made under another name"
	}
	if reason != "" {
		return s.damaged(HeaderBlock, reason)
	}
	dataKey, err := s.fs.keys.Key(h.keyID)
	if err != nil {
		return fmt.Errorf("sealfs: key for %s: %w", s.name, err)
	}
	defer clear(dataKey)
	if s.key, err = deriveKey(dataKey, &h, s.fs.storeID); err != nil {
		return err
	}
	if reason := h.verify(s.key, raw); reason != "" {
		return s.damaged(HeaderBlock, reason)
	}
	s.header = h
	s.setHeader(raw)
	return nil
}

// Stat implements [vfs.FS]. Sizes are logical. It authenticates nothing: a size is taken from the
// length of the file, Open proves it.
func (fs *FS) Stat(name string) (vfs.FileInfo, error) {
	info, err := fs.base.Stat(name)
	if err != nil || info.IsDir() {
		return info, err
	}
	r := roleOf(fs.base.PathBase(name))
	if r.class == classPlain {
		return info, nil
	}
	f, err := fs.base.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := statSize(f, info.Size())
	return sizedInfo{info, size}, err
}

// statSize returns 0 for files that Open would refuse.
func statSize(f io.ReaderAt, physical int64) (int64, error) {
	raw := make([]byte, headerSize)
	if n, err := f.ReadAt(raw, 0); n < len(raw) {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return 0, err
	}
	h, reason := parseHeader(raw)
	if reason != "" {
		return 0, nil
	}
	if h.role.class == classRecord {
		return walkRecords(f, physical)
	}
	g, _ := measure(physical, h.blockLog)
	return g.size, nil
}

// Link implements [vfs.FS]. A name that binds the file to another kind or number (the engine ingests a
// table of any name by linking it) gets a copy that is sealed for it instead of a second name.
func (fs *FS) Link(oldname, newname string) error {
	if fs.bind(oldname) != fs.bind(newname) {
		return fs.linkAs(oldname, newname)
	}
	fs.names.RLock()
	defer fs.names.RUnlock()
	return fs.base.Link(oldname, newname)
}

func (fs *FS) bind(name string) role { return roleOf(fs.base.PathBase(name)) }

func (fs *FS) linkAs(oldname, newname string) error {
	if _, err := fs.base.Stat(newname); err == nil {
		return &os.LinkError{Op: "link", Old: oldname, New: newname, Err: os.ErrExist}
	}
	return Copy(context.Background(), fs, newname, fs, oldname, nil)
}

// Rename implements [vfs.FS]. It refuses a name that binds the file to another kind or number: the
// file could not be opened any more.
func (fs *FS) Rename(oldname, newname string) error {
	if fs.bind(oldname) != fs.bind(newname) {
		return fmt.Errorf("rename %s to %s: %w", fs.base.PathBase(oldname), fs.base.PathBase(newname), ErrUnsupported)
	}
	fs.names.RLock()
	defer fs.names.RUnlock()
	return fs.base.Rename(oldname, newname)
}

// ReuseForWrite implements [vfs.FS] without reusing anything: the new file has a new key.
func (fs *FS) ReuseForWrite(
	oldname, newname string, category vfs.DiskWriteCategory,
) (vfs.File, error) {
	if _, err := fs.base.Stat(oldname); err != nil {
		return nil, err
	}
	f, err := fs.Create(newname, category)
	if err != nil || oldname == newname {
		return f, err
	}
	if err := fs.Remove(oldname); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// OpenReadWrite refuses: sealed bytes are never overwritten.
func (fs *FS) OpenReadWrite(
	name string, _ vfs.DiskWriteCategory, _ ...vfs.OpenOption,
) (vfs.File, error) {
	return nil, fmt.Errorf("open %s: %w", fs.base.PathBase(name), ErrUnsupported)
}

// OpenDir implements [vfs.FS].
func (fs *FS) OpenDir(name string) (vfs.File, error) { return fs.base.OpenDir(name) }

// Remove implements [vfs.FS].
func (fs *FS) Remove(name string) error {
	fs.names.RLock()
	defer fs.names.RUnlock()
	return fs.base.Remove(name)
}

// RemoveAll implements [vfs.FS].
func (fs *FS) RemoveAll(name string) error {
	fs.names.RLock()
	defer fs.names.RUnlock()
	return fs.base.RemoveAll(name)
}

// MkdirAll implements [vfs.FS].
func (fs *FS) MkdirAll(dir string, perm os.FileMode) error { return fs.base.MkdirAll(dir, perm) }

// Lock implements [vfs.FS].
func (fs *FS) Lock(name string) (io.Closer, error) { return fs.base.Lock(name) }

// List implements [vfs.FS].
func (fs *FS) List(dir string) ([]string, error) { return fs.base.List(dir) }

// PathBase implements [vfs.FS].
func (fs *FS) PathBase(path string) string { return fs.base.PathBase(path) }

// PathJoin implements [vfs.FS].
func (fs *FS) PathJoin(elem ...string) string { return fs.base.PathJoin(elem...) }

// PathDir implements [vfs.FS].
func (fs *FS) PathDir(path string) string { return fs.base.PathDir(path) }

// GetDiskUsage implements [vfs.FS].
func (fs *FS) GetDiskUsage(path string) (vfs.DiskUsage, error) { return fs.base.GetDiskUsage(path) }

// Unwrap returns the base.
func (fs *FS) Unwrap() vfs.FS { return fs.base }
