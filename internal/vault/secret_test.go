package vault_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/vault"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// secretWorld is a vault whose caller may do everything with secrets.
func secretWorld(t *testing.T) *world {
	w := newWorld(t)
	p := policy(alice, "all", "purge", "rotate")
	p.Permissions.Secrets = []string{"all", "purge"}
	w.put("kv1", spec(p))
	return w
}

func (w *world) set(name, value string) vault.Secret {
	w.t.Helper()
	s, err := w.svc.SetSecret(ctx, user, "kv1", name, vault.SecretSpec{Value: &value})
	want(w.t, err, "")
	return s
}

// TestSecretLife: versions, properties, deletion and return, through a restart of the server.
func TestSecretLife(t *testing.T) {
	w := secretWorld(t)
	first := w.set("Db", "one")
	second, err := w.svc.SetSecret(ctx, user, "kv1", "db", vault.SecretSpec{Value: ptr("two"), ContentType: ptr("text/plain"),
		Change: vault.Change{Tags: map[string]string{"a": "b"}, Expires: ptr(int64(1))}})
	want(t, err, "")
	if string(second.Value) != "two" || second.Name != "Db" || second.Version == first.Version || second.ContentType != "text/plain" || second.Tags["a"] != "b" {
		t.Errorf("%+v", second)
	}
	w.restart()
	for id, value := range map[string]string{"": "two", first.Version: "one", strings.ToUpper(second.Version): "two"} {
		got, err := w.svc.Secret(ctx, user, "KV1", "DB", id)
		if want(t, err, ""); string(got.Value) != value { // expired, and given all the same
			t.Errorf("%q: %q", id, got.Value)
		}
	}
	updated, err := w.svc.UpdateSecret(ctx, user, "kv1", "db", first.Version, vault.SecretSpec{Change: vault.Change{Enabled: ptr(false)}, ContentType: ptr("x")})
	if want(t, err, ""); updated.Value != nil || updated.Attributes.Enabled || updated.ContentType != "x" {
		t.Errorf("%+v", updated)
	}
	_, err = w.svc.Secret(ctx, user, "kv1", "db", first.Version)
	want(t, err, "SecretDisabled")
	if e := w.last(); e.Operation != "SecretGet" || e.Outcome != audit.Failed || !strings.HasSuffix(e.Resource, "/secrets/db/"+first.Version) {
		t.Errorf("%+v", e)
	}
	items, next, err := w.svc.SecretVersions(ctx, user, "kv1", "db", vault.Page{Max: 1})
	if want(t, err, ""); len(items) != 1 || next == "" || items[0].Value != nil {
		t.Errorf("%+v %q", items, next)
	}
	deleted, err := w.svc.DeleteSecret(ctx, user, "kv1", "db")
	if want(t, err, ""); deleted.Deletion == nil || deleted.Value != nil {
		t.Errorf("%+v", deleted)
	}
	_, err = w.svc.Secret(ctx, user, "kv1", "db", "")
	want(t, err, "SecretNotFound")
	_, err = w.svc.SetSecret(ctx, user, "kv1", "db", vault.SecretSpec{Value: ptr("x")})
	want(t, err, "ObjectIsDeletedButRecoverable")
	gone, _, err := w.svc.DeletedSecrets(ctx, user, "kv1", vault.Page{})
	if want(t, err, ""); len(gone) != 1 || gone[0].Name != "Db" {
		t.Errorf("%+v", gone)
	}
	w.restart()
	_, err = w.svc.RecoverSecret(ctx, user, "kv1", "db")
	want(t, err, "")
	got, err := w.svc.Secret(ctx, user, "kv1", "db", second.Version)
	if want(t, err, ""); string(got.Value) != "two" {
		t.Errorf("%q", got.Value)
	}
	_, err = w.svc.DeleteSecret(ctx, user, "kv1", "db")
	want(t, err, "")
	want(t, w.svc.PurgeSecret(ctx, user, "kv1", "db"), "")
	_, err = w.svc.RecoverSecret(ctx, user, "kv1", "db")
	want(t, err, "SecretNotFound")
	w.set("db", "again")
}

// TestSecretsAreSweptWithTheirRetention, as keys are.
func TestSecretsAreSwept(t *testing.T) {
	w := secretWorld(t)
	w.set("old", "x")
	_, err := w.svc.DeleteSecret(ctx, user, "kv1", "old")
	want(t, err, "")
	w.now = w.now.AddDate(0, 0, 91)
	_, err = w.svc.DeletedSecret(ctx, user, "kv1", "old")
	want(t, err, "SecretNotFound")
	want(t, w.svc.Sweep(ctx, w.now), "")
	if e := w.last(); e.Operation != "SecretPurge" || e.Caller != "platform" {
		t.Errorf("%+v", e)
	}
	w.set("old", "new")
}

// TestRefusedSecrets: values, names and types that are not served.
func TestRefusedSecrets(t *testing.T) {
	w := secretWorld(t)
	for _, s := range []vault.SecretSpec{
		{}, {Value: ptr(strings.Repeat("x", 25<<10+1))}, {Value: ptr("x"), ContentType: ptr(strings.Repeat("x", 256))},
		{Value: ptr("x"), Change: vault.Change{NotBefore: ptr(int64(2)), Expires: ptr(int64(1))}},
	} {
		_, err := w.svc.SetSecret(ctx, user, "kv1", "s", s)
		want(t, err, "BadParameter")
	}
	_, err := w.svc.SetSecret(ctx, user, "kv1", "a_b", vault.SecretSpec{Value: ptr("x")})
	want(t, err, "BadParameter")
	_, err = w.svc.Secret(ctx, user, "kv1", "s", "")
	want(t, err, "SecretNotFound")
	w.set("s", strings.Repeat("x", 25<<10))
	_, err = w.svc.Secret(ctx, user, "kv1", "s", strings.Repeat("0", 32))
	want(t, err, "SecretNotFound")
}

// TestBackup: what is backed up comes back with its versions, values, policy and times, and only here.
func TestBackup(t *testing.T) {
	w := secretWorld(t)
	k, err := w.svc.CreateKey(ctx, user, "kv1", "k", vault.KeySpec{KTY: "oct"})
	want(t, err, "")
	_, err = w.svc.RotateKey(ctx, user, "kv1", "k")
	want(t, err, "")
	s := w.set("s", "value")
	sealed, err := w.svc.Crypt(ctx, user, "kv1", "k", k.Version, material.Encrypt, material.Input{Algorithm: "A256GCM", Value: []byte("x")})
	want(t, err, "")
	keyBlob, err := w.svc.BackUpKey(ctx, user, "kv1", "k")
	want(t, err, "")
	secretBlob, err := w.svc.BackUpSecret(ctx, user, "kv1", "s")
	want(t, err, "")
	for _, blob := range [][]byte{keyBlob, secretBlob} {
		if bytes.Contains(blob, []byte("value")) || !bytes.HasPrefix(blob, []byte("&AzureKeyVault")) {
			t.Errorf("the blob shows something: %.80q", blob)
		}
	}
	_, err = w.svc.RestoreKey(ctx, user, "kv1", keyBlob)
	want(t, err, "RestoreConflict")
	_, err = w.svc.DeleteKey(ctx, user, "kv1", "k")
	want(t, err, "")
	_, err = w.svc.RestoreKey(ctx, user, "kv1", keyBlob) // deleted names are taken too
	want(t, err, "RestoreConflict")
	want(t, w.svc.PurgeKey(ctx, user, "kv1", "k"), "")
	w.now = w.now.AddDate(0, 0, 1)
	w.restart()

	back, err := w.svc.RestoreKey(ctx, user, "kv1", keyBlob)
	if want(t, err, ""); back.Name != "k" || !back.Created.Equal(k.Created) {
		t.Errorf("%+v", back)
	}
	out, err := w.svc.Crypt(ctx, user, "kv1", "k", k.Version, material.Decrypt, material.Input{Algorithm: "A256GCM", Value: sealed.Value, IV: sealed.IV, Tag: sealed.Tag})
	if want(t, err, ""); string(out.Value) != "x" {
		t.Errorf("%q", out.Value)
	}
	other := spec(policy(alice, "all"))
	other.Policies[0].Permissions.Secrets = []string{"all"}
	w.put("kv2", other)
	twin, err := w.svc.RestoreSecret(ctx, user, "kv2", secretBlob)
	if want(t, err, ""); twin.Version != s.Version || twin.Value != nil {
		t.Errorf("%+v", twin)
	}
	_, err = w.svc.RestoreSecret(ctx, user, "kv2", keyBlob)
	want(t, err, vault.ReasonMalformedBackup)
	stranger := newWorld(t)
	stranger.put("kv1", other)
	_, err = stranger.svc.RestoreSecret(ctx, user, "kv1", secretBlob)
	want(t, err, vault.ReasonMalformedBackup)
}

// TestBackupLimit: more versions than the service takes are not backed up.
func TestBackupLimit(t *testing.T) {
	w := secretWorld(t)
	for range 501 {
		w.set("s", "x")
	}
	_, err := w.svc.BackUpSecret(ctx, user, "kv1", "s")
	want(t, err, "BadParameter")
}

// TestSecretPermissions: each permission opens its own operation and no other; keys' permissions open none.
func TestSecretPermissions(t *testing.T) {
	w := secretWorld(t)
	w.set("s", "x")
	operations := map[string]func() error{
		"get":     func() error { _, err := w.svc.Secret(ctx, user, "kv1", "s", ""); return err },
		"list":    func() error { _, _, err := w.svc.Secrets(ctx, user, "kv1", vault.Page{}); return err },
		"set":     func() error { _, err := w.svc.UpdateSecret(ctx, user, "kv1", "s", "", vault.SecretSpec{}); return err },
		"delete":  func() error { _, err := w.svc.DeleteSecret(ctx, user, "kv1", "absent"); return err },
		"recover": func() error { _, err := w.svc.RecoverSecret(ctx, user, "kv1", "absent"); return err },
		"purge":   func() error { return w.svc.PurgeSecret(ctx, user, "kv1", "absent") },
		"backup":  func() error { _, err := w.svc.BackUpSecret(ctx, user, "kv1", "s"); return err },
		"restore": func() error { _, err := w.svc.RestoreSecret(ctx, user, "kv1", nil); return err },
	}
	for granted := range operations {
		p := policy(alice, "all")
		p.Permissions.Secrets = []string{granted}
		w.put("kv1", spec(p))
		for name, do := range operations {
			if err := do(); (name == granted) == (err != nil && strings.Contains(err.Error(), "ForbiddenByPolicy")) {
				t.Errorf("%s with %s: %v", name, granted, err)
			}
		}
	}
	w.put("kv1", spec(policy(alice, "all")))
	if err := operations["get"](); err == nil || !strings.Contains(err.Error(), "does not have secrets get permission") {
		t.Error(err)
	}
}

// TestRandom: as many bytes as were asked for, within the service's bounds.
func TestRandom(t *testing.T) {
	w := secretWorld(t)
	seen := map[string]bool{}
	for _, n := range []int{16, 128} {
		b, err := w.svc.Random(context.Background(), user, "kv1", n)
		if want(t, err, ""); len(b) != n || seen[fmt.Sprint(b)] {
			t.Errorf("%x", b)
		}
		seen[fmt.Sprint(b)] = true
	}
	for _, n := range []int{-1, 0, 129} {
		_, err := w.svc.Random(context.Background(), user, "kv1", n)
		want(t, err, "BadParameter")
	}
}
