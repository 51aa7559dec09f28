package envelope

import (
	"github.com/latchkey-db/latchkey/internal/sealfs"
)

// sealKeys serves an account's data keys to its sealed file system.
type sealKeys struct{ set *keySet }

var _ sealfs.Keys = sealKeys{}

// Current implements [sealfs.Keys].
func (s sealKeys) Current() (sealfs.KeyID, []byte, error) {
	id := s.set.currentID()
	key, err := s.set.key(id)
	return id, key, err
}

// Key implements [sealfs.Keys].
func (s sealKeys) Key(id sealfs.KeyID) ([]byte, error) { return s.set.key(id) }

// seal returns the file system of the account's store: files of another account do not open in it.
func (k *Keeper) seal(accountID string, keys *keySet) (*sealfs.FS, error) {
	return sealfs.New(k.cfg.FS, sealfs.Options{Keys: sealKeys{keys}, StoreID: accountID})
}
