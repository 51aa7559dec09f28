package sealfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
)

// ResealDir is the name of the scratch subdirectory in which Reseal makes its copies.
const ResealDir = "reseal"

// Reseal re-encrypts a finished file in place under the current data key. See the package comment.
//
// It returns [ErrNotComplete] for a file that is being written, and for a record file without its
// end unless [UpToTear] is given; an error that wraps [os.ErrNotExist] if the name is gone, also if
// it went or was given to another file during the copying, which then is dropped. After any error
// but one of the last step, the sync of the directory, the old file is untouched; after an error of
// that one the new file is there but may give way to the old one in a crash. Files without content
// are left alone. A table that a crash left unfinished looks damaged, here as everywhere; the engine
// removes such tables soon after it opened the store.
//
// One Reseal of an FS runs at a time; others wait.
func (fs *FS) Reseal(ctx context.Context, name string, limit Limit, opts ...CopyOption) error {
	if roleOf(fs.base.PathBase(name)).class == classPlain {
		_, err := fs.base.Stat(name)
		return err
	}
	if err := fs.takeTurn(ctx); err != nil {
		return err
	}
	defer fs.giveTurn()
	old, err := fs.openFinished(name, opts)
	if err != nil {
		return err
	}
	defer old.Close()
	i, err := fs.replace(ctx, name, old, limit)
	if err != nil {
		return err
	}
	if err := fs.syncDir(fs.base.PathDir(name)); err != nil {
		return err
	}
	if fs.tells(i) {
		fs.onRecord(name, i)
	}
	return nil
}

func (fs *FS) takeTurn(ctx context.Context) error {
	select {
	case fs.resealing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (fs *FS) giveTurn() { <-fs.resealing }

// replace makes the copy and puts it in the place of the old file.
func (fs *FS) replace(ctx context.Context, name string, old source, limit Limit) (Info, error) {
	dir := fs.scratch(fs.base.PathDir(name))
	if err := fs.base.MkdirAll(dir, 0o700); err != nil {
		return Info{}, err
	}
	fresh := fs.base.PathJoin(dir, fs.base.PathBase(name))
	i, err := fs.seal(ctx, fresh, old, limit)
	if err != nil {
		return Info{}, err
	}
	if err := fs.exchange(fresh, name, old); err != nil {
		return Info{}, errors.Join(err, fs.Remove(fresh))
	}
	return i, nil
}

func (fs *FS) scratch(dir string) string { return fs.base.PathJoin(dir, ResealDir) }

// exchange renames fresh to name if name still holds the file old. No name changes meanwhile.
func (fs *FS) exchange(fresh, name string, old source) error {
	fs.names.Lock()
	defer fs.names.Unlock()
	now, err := fs.base.Open(name)
	if err != nil {
		return err
	}
	defer now.Close()
	was, err := old.identity()
	if err != nil {
		return err
	}
	is, err := readRaw(now)
	if err != nil {
		return err
	}
	if !bytes.Equal(was, is) {
		return fmt.Errorf("sealfs: %s holds another file now: %w", fs.base.PathBase(name), os.ErrNotExist)
	}
	return fs.base.Rename(fresh, name)
}

// CleanReseal removes what interrupted Reseals left behind in dir. It is to be called when a store is
// opened.
func (fs *FS) CleanReseal(dir string) error {
	_ = fs.takeTurn(context.Background()) // cannot fail
	defer fs.giveTurn()
	return fs.RemoveAll(fs.scratch(dir))
}
