package directory

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

// TestProvenTokenIsLookedAtAnew uses a token, so that it is remembered, and then takes away each of the
// things that the token's use depends on.
func TestProvenTokenIsLookedAtAnew(t *testing.T) {
	w := newWorld(t)
	_, p, text := w.application("app")
	out, err := w.token(p.AppID, text, armAudience+"/.default")
	if err != nil {
		t.Fatal(err)
	}
	verify := func(token, audience string) error {
		_, err := w.dir.VerifyToken(t.Context(), token, []string{audience})
		return err
	}
	for range 2 {
		if err := verify(out.AccessToken, armAudience); err != nil {
			t.Fatal(err)
		}
	}
	if w.dir.signer.proven.get(sha256.Sum256([]byte(out.AccessToken))) == nil {
		t.Fatal("the token is not remembered")
	}
	wantReason(t, verify(out.AccessToken, "https://vault.azure.net"), "TokenAudience")
	cut := strings.LastIndex(out.AccessToken, ".") + 1
	wantReason(t, verify(out.AccessToken[:cut]+strings.Repeat("A", len(out.AccessToken)-cut), armAudience), "TokenSignature")
	now := w.now
	w.now = now.Add(2 * time.Hour)
	wantReason(t, verify(out.AccessToken, armAudience), "TokenExpired")
	w.now = now.Add(-time.Hour)
	wantReason(t, verify(out.AccessToken, armAudience), "TokenNotYetValid")
	w.now = now
	off := false
	if err := w.dir.UpdateServicePrincipal(t.Context(), w.adminCaller(), p.ID, PrincipalSpec{Enabled: &off}); err != nil {
		t.Fatal(err)
	}
	wantReason(t, verify(out.AccessToken, armAudience), "TokenPrincipal")
	if err := w.dir.DeleteServicePrincipal(t.Context(), w.adminCaller(), p.ID); err != nil {
		t.Fatal(err)
	}
	wantReason(t, verify(out.AccessToken, armAudience), "TokenPrincipal")
}

// TestProvenIsBounded: tokens that are used stay, others go, and there is never more than a bound.
func TestProvenIsBounded(t *testing.T) {
	var p proven
	used, forgotten := sum(1<<40), sum(1<<41)
	claims := &accessClaims{}
	p.put(used, claims)
	p.put(forgotten, claims)
	for i := range uint64(5 * maxProven) {
		p.put(sum(i), claims)
		if p.get(used) == nil {
			t.Fatalf("after %d others a token that is used was forgotten", i)
		}
		if n := len(p.young) + len(p.old); n > 2*maxProven {
			t.Fatalf("%d tokens", n)
		}
	}
	if p.get(forgotten) != nil {
		t.Error("a token that nobody used was kept")
	}
}

func sum(i uint64) [sha256.Size]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
}

func TestUnprovenTokensAreNotRemembered(t *testing.T) {
	w := newWorld(t)
	before := len(w.dir.signer.proven.young)
	for _, token := range []string{"", "x", "a.b.c", strings.Repeat("x", maxToken+1)} {
		if _, err := w.dir.VerifyToken(t.Context(), token, []string{armAudience}); err == nil {
			t.Errorf("%.10q was accepted", token)
		}
	}
	if n := len(w.dir.signer.proven.young); n != before {
		t.Errorf("%d remembered, before %d", n, before)
	}
}
