package pkcs11

// The numbers of the PKCS #11 standard that this package uses. They stand here because the binding's
// own need cgo.

// Classes of objects.
const (
	objectPublic  uint = 2
	objectPrivate uint = 3
	objectSecret  uint = 4
)

// Types of keys.
const (
	keyRSA     uint = 0x00
	keyEC      uint = 0x03
	keyGeneric uint = 0x10
	keyAES     uint = 0x1F
)

// Attributes.
const (
	attrClass           uint = 0x000
	attrToken           uint = 0x001
	attrPrivate         uint = 0x002
	attrLabel           uint = 0x003
	attrValue           uint = 0x011
	attrKeyType         uint = 0x100
	attrID              uint = 0x102
	attrSensitive       uint = 0x103
	attrEncrypt         uint = 0x104
	attrDecrypt         uint = 0x105
	attrWrap            uint = 0x106
	attrUnwrap          uint = 0x107
	attrSign            uint = 0x108
	attrVerify          uint = 0x10A
	attrModulus         uint = 0x120
	attrModulusBits     uint = 0x121
	attrPublicExponent  uint = 0x122
	attrPrivateExponent uint = 0x123
	attrPrime1          uint = 0x124
	attrPrime2          uint = 0x125
	attrExponent1       uint = 0x126
	attrExponent2       uint = 0x127
	attrCoefficient     uint = 0x128
	attrValueLen        uint = 0x161
	attrExtractable     uint = 0x162
	attrECParams        uint = 0x180
	attrECPoint         uint = 0x181
)

// Mechanisms.
const (
	mechRSAGenerate uint = 0x0000
	mechRSAPKCS     uint = 0x0001
	mechRSARaw      uint = 0x0003
	mechRSAOAEP     uint = 0x0009
	mechRSAPSS      uint = 0x000D
	mechSHA1        uint = 0x0220
	mechSHA256      uint = 0x0250
	mechSHA384      uint = 0x0260
	mechSHA512      uint = 0x0270
	mechECGenerate  uint = 0x1040
	mechECDSA       uint = 0x1041
	mechAESGenerate uint = 0x1080
	mechAESCBC      uint = 0x1082
	mechAESCBCPad   uint = 0x1085
	mechAESGCM      uint = 0x1087
	mechAESKeyWrap  uint = 0x2109
)

// Mask generation functions.
const (
	mgfSHA1   uint = 1
	mgfSHA256 uint = 2
	mgfSHA384 uint = 3
	mgfSHA512 uint = 4
)
