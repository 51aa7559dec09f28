package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/latchkey-db/latchkey/internal/fault"
)

func TestError(t *testing.T) {
	cause := errors.New("secret detail")
	plain := fault.New(fault.Denied, "KeyDisabled", "The key %s is disabled.", "k")
	wrapped := fmt.Errorf("outer: %w", plain.Because(cause))
	for _, c := range []struct {
		err    error
		kind   fault.Kind
		reason string
		shown  string // Message
		caused bool
	}{
		{plain, fault.Denied, "KeyDisabled", "The key k is disabled.", false},
		{wrapped, fault.Denied, "KeyDisabled", "The key k is disabled.", true},
		{errors.Join(cause, wrapped), fault.Denied, "KeyDisabled", "The key k is disabled.", true},
		{cause, fault.Internal, "", "", true},
		{nil, fault.Internal, "", "", false},
	} {
		if got := fault.KindOf(c.err); got != c.kind {
			t.Errorf("%v: kind %d", c.err, got)
		}
		f := fault.As(c.err)
		if (f != nil) != (c.reason != "") || f != nil && (f.Reason != c.reason || f.Message != c.shown) {
			t.Errorf("%v: As = %+v", c.err, f)
		}
		if fault.Is(c.err, "KeyDisabled") != (c.reason == "KeyDisabled") {
			t.Errorf("%v: Is", c.err)
		}
		if errors.Is(c.err, cause) != c.caused {
			t.Errorf("%v: cause", c.err)
		}
	}
	if plain.Err != nil {
		t.Error("Because changed its receiver")
	}
	if got := wrapped.Error(); got != "outer: KeyDisabled: The key k is disabled.: secret detail" {
		t.Errorf("Error() = %q", got)
	}
}
