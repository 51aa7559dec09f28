package vault

import "strings"

// permission is one right on objects of one kind under its names.
type permission struct {
	kind      kind
	policy    string // in access policies
	action    string // data action below Microsoft.KeyVault/vaults/
	operation string // in the audit log
	change    bool   // it changes something, so that its permission is recorded before
	inAll     bool   // part of the policy word "all"
}

// The rights on keys. "all" stands for the permissions of the first generation without purge: clients
// that want purge or the later ones name them beside "all".
var (
	mayCreate      = permission{ofKeys, "create", "keys/create/action", "KeyCreate", true, true}
	mayImport      = permission{ofKeys, "import", "keys/import/action", "KeyImport", true, true}
	mayGet         = permission{ofKeys, "get", "keys/read", "KeyGet", false, true}
	mayList        = permission{ofKeys, "list", "keys/read", "KeyList", false, true}
	mayUpdate      = permission{ofKeys, "update", "keys/update/action", "KeyUpdate", true, true}
	mayDelete      = permission{ofKeys, "delete", "keys/delete", "KeyDelete", true, true}
	mayRecover     = permission{ofKeys, "recover", "keys/recover/action", "KeyRecover", true, true}
	mayPurge       = permission{ofKeys, "purge", "keys/purge/action", "KeyPurge", true, false}
	mayBackUp      = permission{ofKeys, "backup", "keys/backup/action", "KeyBackup", false, true}
	mayRestore     = permission{ofKeys, "restore", "keys/restore/action", "KeyRestore", true, true}
	mayRotate      = permission{ofKeys, "rotate", "keys/rotate/action", "KeyRotate", true, false}
	mayRelease     = permission{ofKeys, "release", "keys/release/action", "KeyRelease", false, false}
	mayGetRotation = permission{ofKeys, "getrotationpolicy", "keyrotationpolicies/read", "KeyGetRotationPolicy", false, false}
	maySetRotation = permission{ofKeys, "setrotationpolicy", "keyrotationpolicies/write", "KeySetRotationPolicy", true, false}
	mayEncrypt     = permission{ofKeys, "encrypt", "keys/encrypt/action", "KeyEncrypt", false, true}
	mayDecrypt     = permission{ofKeys, "decrypt", "keys/decrypt/action", "KeyDecrypt", false, true}
	mayWrap        = permission{ofKeys, "wrapKey", "keys/wrap/action", "KeyWrap", false, true}
	mayUnwrap      = permission{ofKeys, "unwrapKey", "keys/unwrap/action", "KeyUnwrap", false, true}
	maySign        = permission{ofKeys, "sign", "keys/sign/action", "KeySign", false, true}
	mayVerify      = permission{ofKeys, "verify", "keys/verify/action", "KeyVerify", false, true}
)

// The rights on secrets. Whoever may read the properties of secrets need not be allowed to read their
// values: in RBAC mode the two are separate actions.
var (
	maySetSecret     = permission{ofSecrets, "set", "secrets/setSecret/action", "SecretSet", true, true}
	mayGetSecret     = permission{ofSecrets, "get", "secrets/getSecret/action", "SecretGet", false, true}
	mayListSecrets   = permission{ofSecrets, "list", "secrets/readMetadata/action", "SecretList", false, true}
	mayUpdateSecret  = permission{ofSecrets, "set", "secrets/update/action", "SecretUpdate", true, true}
	mayDeleteSecret  = permission{ofSecrets, "delete", "secrets/delete", "SecretDelete", true, true}
	mayReadDeleted   = permission{ofSecrets, "get", "secrets/readMetadata/action", "SecretGetDeleted", false, true}
	mayRecoverSecret = permission{ofSecrets, "recover", "secrets/recover/action", "SecretRecover", true, true}
	mayPurgeSecret   = permission{ofSecrets, "purge", "secrets/purge/action", "SecretPurge", true, false}
	mayBackUpSecret  = permission{ofSecrets, "backup", "secrets/backup/action", "SecretBackup", false, true}
	mayRestoreSecret = permission{ofSecrets, "restore", "secrets/restore/action", "SecretRestore", true, true}
)

// dataAction is the full name of the data action.
func (p permission) dataAction() string { return Namespace + "/vaults/" + p.action }

// The rights on certificates, on whom to tell about them, and on who issues them.
var (
	mayCreateCertificate  = permission{ofCertificates, "create", "certificates/create/action", "CertificateCreate", true, true}
	mayImportCertificate  = permission{ofCertificates, "import", "certificates/import/action", "CertificateImport", true, true}
	mayGetCertificate     = permission{ofCertificates, "get", "certificates/read", "CertificateGet", false, true}
	mayListCertificates   = permission{ofCertificates, "list", "certificates/read", "CertificateList", false, true}
	mayUpdateCertificate  = permission{ofCertificates, "update", "certificates/update/action", "CertificateUpdate", true, true}
	mayDeleteCertificate  = permission{ofCertificates, "delete", "certificates/delete", "CertificateDelete", true, true}
	mayRecoverCertificate = permission{ofCertificates, "recover", "certificates/recover/action", "CertificateRecover", true, true}
	mayPurgeCertificate   = permission{ofCertificates, "purge", "certificates/purge/action", "CertificatePurge", true, false}
	mayBackUpCertificate  = permission{ofCertificates, "backup", "certificates/backup/action", "CertificateBackup", false, true}
	mayRestoreCertificate = permission{ofCertificates, "restore", "certificates/restore/action", "CertificateRestore", true, true}
	mayManageContacts     = permission{ofCertificates, "managecontacts", "certificatecontacts/write", "CertificateContactsSet", true, true}
	mayGetIssuers         = permission{ofCertificates, "getissuers", "certificatecas/read", "CertificateIssuerGet", false, true}
	mayListIssuers        = permission{ofCertificates, "listissuers", "certificatecas/read", "CertificateIssuersList", false, true}
	maySetIssuers         = permission{ofCertificates, "setissuers", "certificatecas/write", "CertificateIssuerSet", true, true}
	mayDeleteIssuers      = permission{ofCertificates, "deleteissuers", "certificatecas/delete", "CertificateIssuerDelete", true, true}
)

// reading returns p for an operation that changes nothing.
func (p permission) reading() permission {
	p.change = false
	return p
}

// as returns p under another name in the audit log.
func (p permission) as(operation string) permission {
	p.operation = operation
	return p
}

// has reports whether the list for the permission's kind holds it.
func (p Permissions) has(need permission) bool {
	for _, name := range p.of(need.kind) {
		if strings.EqualFold(name, need.policy) || strings.EqualFold(name, "manageissuers") && strings.HasSuffix(need.policy, "issuers") || need.inAll && strings.EqualFold(name, "all") {
			return true
		}
	}
	return false
}

func (p Permissions) of(k kind) []string {
	switch k {
	case ofKeys:
		return p.Keys
	case ofSecrets:
		return p.Secrets
	}
	return p.Certificates
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
