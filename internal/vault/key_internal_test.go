package vault

import (
	"fmt"
	"strings"
	"testing"
)

// TestPrivateKeysDoNotPrint: a record that ends in a log or an error by accident shows no key and no value.
func TestPrivateKeysDoNotPrint(t *testing.T) {
	for _, rec := range []any{
		keyRecord{object: object[keyVersion]{Versions: []keyVersion{{Private: private("the key")}}}},
		certificateRecord{Pending: &pendingCertificate{Private: private("the key")}},
		Issuer{Password: private("the key")},
		secretRecord{object[secretVersion]{Versions: []secretVersion{{Value: private("the key")}}}},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
			got := fmt.Sprintf(verb, rec)
			if strings.Contains(got, "the key") || strings.Contains(got, fmt.Sprintf("%x", "the key")) || strings.Contains(got, "116 104 101") {
				t.Errorf("%T %s: %s", rec, verb, got)
			}
		}
	}
}
