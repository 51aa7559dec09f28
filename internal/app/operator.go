package app

import (
	"context"
	"time"

	"github.com/latchkey-db/latchkey/internal/account"
	"github.com/latchkey-db/latchkey/internal/envelope"
)

// operator is the envelope as the operators of accounts use it.
type operator struct{ *envelope.Keeper }

var _ account.Operator = operator{}

// overview is what operators are shown of an account.
type overview struct {
	State             envelope.State `json:"state"`
	StorageID         string         `json:"storageId"`
	KeyURI            string         `json:"keyUri,omitempty"`
	KeyVersion        string         `json:"keyVersion,omitempty"`
	Identity          string         `json:"identity,omitempty"`
	Substatus         int            `json:"substatus,omitempty"`
	Reason            string         `json:"reason,omitempty"`
	Detail            string         `json:"detail,omitempty"`
	Since             time.Time      `json:"since"`
	LastKeyCheck      *time.Time     `json:"lastKeyCheck,omitempty"`
	LastKeySuccess    *time.Time     `json:"lastKeySuccess,omitempty"`
	GraceEnds         *time.Time     `json:"graceEnds,omitempty"`
	Locked            bool           `json:"locked,omitempty"`
	AccountKeyCreated time.Time      `json:"accountKeyCreated"`
	DataKeys          int            `json:"dataKeys"`
	KeyringCounter    uint64         `json:"keyringCounter"`
	Reencryption      reencryption   `json:"reencryption"`
}

// reencryption is how far old files are under the present data key.
type reencryption struct {
	State           string     `json:"state"` // None, Running, Waiting
	PercentComplete int        `json:"percentComplete"`
	Files           int        `json:"files,omitempty"`
	FilesOld        int        `json:"filesOld,omitempty"`
	Bytes           int64      `json:"bytes,omitempty"`
	BytesOld        int64      `json:"bytesOld,omitempty"`
	Started         *time.Time `json:"started,omitempty"`
	Failure         string     `json:"failure,omitempty"`
}

// Show implements [account.Operator].
func (o operator) Show(id string) any {
	st, ok := o.Status(id)
	if !ok {
		return nil
	}
	return overview{
		State: st.State, StorageID: id, KeyURI: st.Protection.KeyURI, KeyVersion: st.KeyVersion, Identity: st.Protection.Identity,
		Substatus: st.Substatus, Reason: st.Reason, Detail: st.Detail, Since: st.Since.UTC(),
		LastKeyCheck: moment(st.LastCheck), LastKeySuccess: moment(st.LastSuccess), GraceEnds: moment(st.GraceEnds), Locked: st.Locked,
		AccountKeyCreated: st.AccountKeyCreated.UTC(), DataKeys: st.DataKeys, KeyringCounter: st.KeyringCounter,
		Reencryption: progress(st),
	}
}

// progress tells of a re-encryption; retired data keys wait for one that has not begun.
func progress(st envelope.Status) reencryption {
	p := st.Reencryption
	r := reencryption{State: "None", PercentComplete: p.Percent(), Files: p.Files, FilesOld: p.FilesOld,
		Bytes: p.Bytes, BytesOld: p.BytesOld, Started: moment(p.Started), Failure: p.Failure}
	switch {
	case p.Active && p.Failure == "":
		r.State = "Running"
	case p.Active || st.DataKeys > 1:
		r.State = "Waiting"
	}
	if st.DataKeys > 1 {
		r.PercentComplete = min(r.PercentComplete, 99)
	}
	return r
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Verify implements [account.Operator].
func (o operator) Verify(ctx context.Context, id string) (any, error) {
	return report(o.Keeper.Verify(ctx, id))
}

// report keeps a nil pointer from becoming a value.
func report[T any](r *T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Rotate implements [account.Operator].
func (o operator) Rotate(ctx context.Context, id string, accountKey, dataKeys bool) error {
	return o.RotateKeys(ctx, id, envelope.Rotation{AccountKey: accountKey, DataKeys: dataKeys})
}

// Backup implements [account.Operator].
func (o operator) Backup(ctx context.Context, id, dir string, about []byte) (any, error) {
	return report(o.Keeper.Backup(ctx, id, dir, about))
}

// Restore implements [account.Operator].
func (o operator) Restore(ctx context.Context, id, dir, keyURI, identity string) (any, []byte, error) {
	b, err := o.Keeper.Restore(ctx, id, dir, envelope.Protection{KeyURI: keyURI, Identity: identity})
	if err != nil {
		return nil, nil, err
	}
	return b, b.About, nil
}

// Clone implements [account.Operator].
func (o operator) Clone(ctx context.Context, from, id, keyURI, identity string) error {
	return o.Keeper.Clone(ctx, from, id, envelope.Protection{KeyURI: keyURI, Identity: identity})
}

// Shred implements [account.Operator].
func (o operator) Shred(ctx context.Context, id string) (any, error) {
	return report(o.Keeper.Shred(ctx, id))
}
