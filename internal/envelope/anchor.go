package envelope

// Anchor is what a place other than an account's own directory remembers of the account. Who can write
// that directory, but not the place, cannot replace the directory by an older or a foreign one unseen.
// Digests and ids are hexadecimal; "" is none.
type Anchor struct {
	// Keyring is the SHA-256 of the keyring file in force.
	Keyring string `json:"keyring"`
	// Pending is the SHA-256 of a keyring file that is about to replace it.
	Pending string `json:"pending,omitempty"`
	// Manifest and ManifestID are the number and the file id of the engine's manifest at the last
	// opening.
	Manifest   uint64 `json:"manifest,omitempty"`
	ManifestID string `json:"manifestId,omitempty"`
	// Closed is the digest of the store's files at the last clean close; "" while the store is open.
	Closed string `json:"closed,omitempty"`
	// Locked is set while an operator keeps the account locked.
	Locked bool `json:"locked,omitempty"`
}

// Anchors keeps the anchors of all accounts. Save and Delete are durable when they return nil.
type Anchors interface {
	// Load returns the anchor of an account; ok is false when there is none.
	Load(accountID string) (a Anchor, ok bool, err error)
	// Save replaces the anchor of an account.
	Save(accountID string, a Anchor) error
	// Delete removes the anchor of an account; that there is none is no error.
	Delete(accountID string) error
}
