package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"
)

// ManifestName returns the base name of the file that says which tables make up the store in dir; ""
// when there is no store. The engine writes a new manifest, with a higher number, at every Open. It
// may be called while the store is closed, and after Open.
func ManifestName(fs vfs.FS, dir string) (string, error) {
	name, err := atomicfs.ReadMarker(fs, dir, "manifest")
	if err != nil {
		return "", fmt.Errorf("store: find the manifest: %w", err)
	}
	return name, nil
}
