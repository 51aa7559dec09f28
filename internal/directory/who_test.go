package directory

import (
	"testing"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

func TestWho(t *testing.T) {
	w := newWorld(t)
	_, p, _ := w.application("tool")
	w.application("twin")
	w.application("twin")
	c := w.adminCaller()
	name, display, password := "alice@latchkey.localhost", "Alice", "A long pass-phrase 1"
	u, err := w.dir.CreateUser(t.Context(), c, UserSpec{Name: &name, DisplayName: &display, Password: &password})
	if err != nil {
		t.Fatal(err)
	}
	for asked, want := range map[string]string{
		p.ID: p.ID, p.AppID: p.ID, "TOOL": p.ID, "alice@LATCHKEY.localhost": u.ID, "alice": u.ID, u.ID: u.ID,
	} {
		got, active, err := w.dir.Who(asked)
		if err != nil || !active || got.ObjectID != want || got.Door != "" {
			t.Errorf("who is %s: %+v %v %v", asked, got, active, err)
		}
	}
	if first, _, err := w.dir.Who("Microsoft.DocumentDB"); err != nil || first.Kind != principal.ServicePrincipal || first.AppID != FirstPartyAppID {
		t.Errorf("the database by its provider's name: %+v, %v", first, err)
	}
	if _, _, err := w.dir.Who("nobody"); !fault.Is(err, "PrincipalNotFound") {
		t.Errorf("nobody: %v", err)
	}
	if _, _, err := w.dir.Who("twin"); !fault.Is(err, "PrincipalAmbiguous") {
		t.Errorf("two of a name: %v", err)
	}
	if err := w.dir.UpdateServicePrincipal(t.Context(), c, p.ID, PrincipalSpec{Enabled: new(bool)}); err != nil {
		t.Fatal(err)
	}
	if _, active, err := w.dir.Who(p.ID); active || err != nil {
		t.Errorf("a disabled principal: %v, %v", active, err)
	}
	if w.dir.NameOf(u.ID) != name || w.dir.NameOf(p.ID) != "tool" || w.dir.NameOf("x") != "" {
		t.Error("names of objects")
	}
}
