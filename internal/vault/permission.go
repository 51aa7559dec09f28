package vault

import "strings"

// permission is one right on keys under its names.
type permission struct {
	policy    string // in access policies
	action    string // data action below Microsoft.KeyVault/vaults/
	operation string // in the audit log
	change    bool   // it changes something, so that its permission is recorded before
	inAll     bool   // part of the policy word "all"
}

// The rights on keys. "all" stands for the permissions of the first generation without purge: clients
// that want purge or the later ones name them beside "all".
var (
	mayCreate      = permission{"create", "keys/create/action", "KeyCreate", true, true}
	mayImport      = permission{"import", "keys/import/action", "KeyImport", true, true}
	mayGet         = permission{"get", "keys/read", "KeyGet", false, true}
	mayList        = permission{"list", "keys/read", "KeyList", false, true}
	mayUpdate      = permission{"update", "keys/update/action", "KeyUpdate", true, true}
	mayDelete      = permission{"delete", "keys/delete", "KeyDelete", true, true}
	mayRecover     = permission{"recover", "keys/recover/action", "KeyRecover", true, true}
	mayPurge       = permission{"purge", "keys/purge/action", "KeyPurge", true, false}
	mayRotate      = permission{"rotate", "keys/rotate/action", "KeyRotate", true, false}
	mayGetRotation = permission{"getrotationpolicy", "keyrotationpolicies/read", "KeyGetRotationPolicy", false, false}
	maySetRotation = permission{"setrotationpolicy", "keyrotationpolicies/write", "KeySetRotationPolicy", true, false}
	mayEncrypt     = permission{"encrypt", "keys/encrypt/action", "KeyEncrypt", false, true}
	mayDecrypt     = permission{"decrypt", "keys/decrypt/action", "KeyDecrypt", false, true}
	mayWrap        = permission{"wrapKey", "keys/wrap/action", "KeyWrap", false, true}
	mayUnwrap      = permission{"unwrapKey", "keys/unwrap/action", "KeyUnwrap", false, true}
	maySign        = permission{"sign", "keys/sign/action", "KeySign", false, true}
	mayVerify      = permission{"verify", "keys/verify/action", "KeyVerify", false, true}
)

// as returns p under another name in the audit log.
func (p permission) as(operation string) permission {
	p.operation = operation
	return p
}

// hasKey reports whether the list for keys holds a permission.
func (p Permissions) hasKey(need permission) bool {
	for _, name := range p.Keys {
		if strings.EqualFold(name, need.policy) || need.inAll && strings.EqualFold(name, "all") {
			return true
		}
	}
	return false
}

// The names that access policies may hold, by kind of object.
var (
	keyPermissions         = strings.Fields("all backup create decrypt delete encrypt get getrotationpolicy import list purge recover release restore rotate setrotationpolicy sign unwrapKey update verify wrapKey")
	secretPermissions      = strings.Fields("all backup delete get list purge recover restore set")
	certificatePermissions = strings.Fields("all backup create delete deleteissuers get getissuers import list listissuers managecontacts manageissuers purge recover restore setissuers update")
	storagePermissions     = strings.Fields("all backup delete deletesas get getsas list listsas purge recover regeneratekey restore set setsas update")
)

// unknown finds a permission that does not exist.
func (p Permissions) unknown() (string, bool) {
	for _, x := range []struct{ given, known []string }{
		{p.Keys, keyPermissions}, {p.Secrets, secretPermissions}, {p.Certificates, certificatePermissions}, {p.Storage, storagePermissions},
	} {
		for _, name := range x.given {
			if !contains(x.known, name) {
				return name, true
			}
		}
	}
	return "", false
}
