package vault

import (
	"fmt"
	"strings"
	"testing"
)

// TestPrivateKeysDoNotPrint: a record that ends in a log or an error by accident shows no key.
func TestPrivateKeysDoNotPrint(t *testing.T) {
	k := keyRecord{Versions: []version{{ID: "v", Private: der("the key")}}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		got := fmt.Sprintf(verb, k)
		if strings.Contains(got, "the key") || strings.Contains(got, fmt.Sprintf("%x", "the key")) || strings.Contains(got, "116 104 101") {
			t.Errorf("%s: %s", verb, got)
		}
	}
}
