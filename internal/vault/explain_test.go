package vault_test

import (
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/vault"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// attempts are operations on key-1 under the name of their right.
var attempts = map[string]func(w *world, c principal.Caller) error{
	"keys get": func(w *world, c principal.Caller) error { _, err := w.svc.Key(ctx, c, "kv1", "key-1", ""); return err },
	"keys wrapKey": func(w *world, c principal.Caller) error {
		_, err := w.svc.Crypt(ctx, c, "kv1", "key-1", "", material.Wrap, material.Input{Algorithm: "RSA-OAEP-256", Value: []byte("x")})
		return err
	},
	"keys/sign/action": func(w *world, c principal.Caller) error {
		_, err := w.svc.Crypt(ctx, c, "kv1", "key-1", "", material.Sign, material.Input{Algorithm: "RS256", Value: make([]byte, 32)})
		return err
	},
	"keys list": func(w *world, c principal.Caller) error {
		_, _, err := w.svc.Keys(ctx, c, "kv1", vault.Page{})
		return err
	},
	"keys recover": func(w *world, c principal.Caller) error {
		_, err := w.svc.RecoverKey(ctx, c, "kv1", "key-1")
		return err
	},
}

// TestExplainIsWhatHappens: in every state of the vault and the key, an explanation and the operation
// itself agree, down to the word of the refusal.
func TestExplainIsWhatHappens(t *testing.T) {
	server := principal.Server("test")
	states := map[string]func(w *world){
		"granted":      func(*world) {},
		"some granted": func(w *world) { w.put("kv1", spec(policy(alice, "get", "list"))) },
		"group":        func(w *world) { w.put("kv1", spec(policy(team, "all"))) },
		"nothing":      func(w *world) { w.put("kv1", spec()) },
		"roles":        func(w *world) { s := spec(); s.RBAC = ptr(true); w.put("kv1", s) },
		"no role": func(w *world) {
			s := spec(policy(alice, "all"))
			s.RBAC = ptr(true)
			w.put("kv1", s)
			w.denied["data "+vault.Namespace+"/vaults/keys/wrap/action"] = true
		},
		"closed":   func(w *world) { s := spec(policy(alice, "all")); s.PublicAccess = "Disabled"; w.put("kv1", s) },
		"disabled": func(w *world) { w.update(t, vault.KeySpec{Change: vault.Change{Enabled: ptr(false)}}) },
		"expired":  func(w *world) { w.update(t, vault.KeySpec{Change: vault.Change{Expires: ptr(w.now.Unix())}}) },
		"early":    func(w *world) { w.update(t, vault.KeySpec{Change: vault.Change{NotBefore: ptr(w.now.Unix() + 60)}}) },
		"no ops":   func(w *world) { w.update(t, vault.KeySpec{Ops: []string{"sign"}}) },
		"deleted": func(w *world) {
			if _, err := w.svc.DeleteKey(ctx, server, "kv1", "key-1"); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, set := range states {
		t.Run(name, func(t *testing.T) {
			for right, attempt := range attempts {
				w := newWorld(t)
				w.put("kv1", spec(policy(alice, "all", "recover")))
				if _, err := w.svc.ImportKey(ctx, server, "kv1", "key-1", vault.KeySpec{KTY: "RSA"}, testJWK()); err != nil {
					t.Fatal(err)
				}
				set(w)
				target := access.Target{Vault: "kv1", Name: "key-1"}
				answers, err := w.svc.Explain(ctx, user, target, right)
				if err != nil {
					t.Fatal(err)
				}
				last := answers[0].Gates[len(answers[0].Gates)-1]
				did := attempt(w, user)
				if last.Allowed != (did == nil) || !last.Allowed && last.Code != fault.As(did).Reason {
					t.Errorf("%s: explained %+v, but the operation: %v", right, last, did)
				}
				if last.Reason == "" {
					t.Errorf("%s: no reason: %+v", right, last)
				}
			}
		})
	}
}

func (w *world) update(t *testing.T, spec vault.KeySpec) {
	t.Helper()
	if _, err := w.svc.UpdateKey(ctx, principal.Server("test"), "kv1", "key-1", "", spec); err != nil {
		t.Fatal(err)
	}
}

func TestRemedies(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec(policy(alice, "list", "get")))
	answers, err := w.svc.Explain(ctx, user, access.Target{Vault: "kv1", Collection: "keys", Name: "k"}, "wrapKey", "unwrapKey")
	if err != nil {
		t.Fatal(err)
	}
	want := "az keyvault set-policy --name kv1 --object-id " + alice + " --key-permissions list get wrapKey unwrapKey"
	for _, a := range answers { // az replaces the list: one command must hold all of it
		if got := a.Gates[len(a.Gates)-1].Remedy; got != want {
			t.Errorf("remedy %q, want %q", got, want)
		}
	}
	for right, ok := range map[string]bool{"secrets set": true, "Microsoft.KeyVault/vaults/secrets/getSecret/action": true, "get": false, "wrapKey": true,
		"keys fly": false, "keys/fly/action": false, "": false} {
		if _, err := w.svc.Explain(ctx, user, access.Target{Vault: "kv1"}, right); (err == nil) != ok {
			t.Errorf("right %q: %v", right, err)
		}
	}
}

func TestOperateAsksAndRecords(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec())
	q := vault.Operation{Verb: "why", Question: access.Question{Principal: "bob", Action: "keys get"}}
	action := vault.Namespace + "/vaults/latchkey/why/action"
	if _, err := w.svc.Operate(ctx, manager, id("rg", "kv1"), q); !fault.Is(err, "NotOffered") {
		t.Errorf("without an explainer: %v", err)
	}
	if e := w.last(); e.Operation != action || e.Outcome != "allowed" || !strings.Contains(e.Detail, "bob") {
		t.Errorf("record %+v", e)
	}
	w.denied[action] = true
	if _, err := w.svc.Operate(ctx, manager, id("rg", "kv1"), q); fault.KindOf(err) != fault.Denied || w.last().Outcome != "denied" {
		t.Errorf("without the right: %v, %+v", err, w.last())
	}
	if _, err := w.svc.Operate(ctx, manager, id("rg", "kv1"), vault.Operation{Verb: "fly"}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("unknown verb: %v", err)
	}
}
