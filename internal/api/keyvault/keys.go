package keyvault

import (
	"net/http"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/vault"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// bodyLimit bounds a request body, in bytes; the largest honest one is an imported certificate.
const bodyLimit = 256 << 10

func (x *exchange) read(v any) error { return wire.ReadJSON(x.r, bodyLimit, v) }

// shown answers with what show makes of a domain method's result.
func shown[T, U any](show func(T) U) func(T, error) (int, any, error) {
	return func(v T, err error) (int, any, error) {
		if err != nil {
			return 0, nil, err
		}
		return http.StatusOK, show(v), nil
	}
}

func createKey(s *vault.Service, x *exchange) (int, any, error) {
	var in keyIn
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	spec, err := in.spec()
	if err != nil {
		return 0, nil, err
	}
	return shown(x.keyOut)(s.CreateKey(x.ctx, x.caller, x.vault, x.route.name, spec))
}

func importKey(s *vault.Service, x *exchange) (int, any, error) {
	var in importIn
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	spec, err := in.spec()
	if err != nil {
		return 0, nil, err
	}
	key, err := in.Key.jwk()
	if err != nil {
		return 0, nil, err
	}
	return shown(x.keyOut)(s.ImportKey(x.ctx, x.caller, x.vault, x.route.name, spec, key))
}

func getKey(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.keyOut)(s.Key(x.ctx, x.caller, x.vault, x.route.name, x.route.version))
}

func updateKey(s *vault.Service, x *exchange) (int, any, error) {
	var in keyIn
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	spec, err := in.spec()
	if err != nil {
		return 0, nil, err
	}
	return shown(x.keyOut)(s.UpdateKey(x.ctx, x.caller, x.vault, x.route.name, x.route.version, spec))
}

func rotateKey(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.keyOut)(s.RotateKey(x.ctx, x.caller, x.vault, x.route.name))
}

func deleteKey(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.keyOut)(s.DeleteKey(x.ctx, x.caller, x.vault, x.route.name))
}

func getDeleted(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.keyOut)(s.DeletedKey(x.ctx, x.caller, x.vault, x.route.name))
}

func recoverKey(s *vault.Service, x *exchange) (int, any, error) {
	return shown(x.keyOut)(s.RecoverKey(x.ctx, x.caller, x.vault, x.route.name))
}

func purgeKey(s *vault.Service, x *exchange) (int, any, error) {
	return http.StatusNoContent, nil, s.PurgeKey(x.ctx, x.caller, x.vault, x.route.name)
}

// blobOut is a backup in an answer.
func blobOut(blob []byte) blobJSON { return blobJSON{b64.EncodeToString(blob)} }

func backUpKey(s *vault.Service, x *exchange) (int, any, error) {
	return shown(blobOut)(s.BackUpKey(x.ctx, x.caller, x.vault, x.route.name))
}

func restoreKey(s *vault.Service, x *exchange) (int, any, error) {
	blob, err := x.blob()
	if err != nil {
		return 0, nil, err
	}
	return shown(x.keyOut)(s.RestoreKey(x.ctx, x.caller, x.vault, blob))
}

func listKeys(s *vault.Service, x *exchange) (int, any, error) {
	return page(x, "/keys", func(p vault.Page) ([]vault.Key, string, error) { return s.Keys(x.ctx, x.caller, x.vault, p) }, x.keyItem)
}

func listDeleted(s *vault.Service, x *exchange) (int, any, error) {
	return page(x, "/deletedkeys", func(p vault.Page) ([]vault.Key, string, error) { return s.DeletedKeys(x.ctx, x.caller, x.vault, p) }, x.keyItem)
}

func listVersions(s *vault.Service, x *exchange) (int, any, error) {
	return page(x, "/keys/"+x.route.name+"/versions", func(p vault.Page) ([]vault.Key, string, error) {
		return s.KeyVersions(x.ctx, x.caller, x.vault, x.route.name, p)
	}, x.keyItem)
}

// crypt serves one cryptographic operation.
func crypt(op material.Operation) handler {
	return func(s *vault.Service, x *exchange) (int, any, error) {
		var body operationIn
		if err := x.read(&body); err != nil {
			return 0, nil, err
		}
		in, err := body.input(op)
		if err != nil {
			return 0, nil, err
		}
		out, err := s.Crypt(x.ctx, x.caller, x.vault, x.route.name, x.route.version, op, in)
		switch {
		case err != nil:
			return 0, nil, err
		case op == material.Verify:
			return http.StatusOK, map[string]bool{"value": out.Valid}, nil
		}
		return http.StatusOK, operationOut{
			ID: x.id("keys", out.Name, out.Version), Value: b64.EncodeToString(out.Value),
			IV: b64.EncodeToString(out.IV), Tag: b64.EncodeToString(out.Tag), AAD: b64.EncodeToString(out.AAD),
		}, nil
	}
}

// releaseKey reads what the service reads, so that a request that could never succeed is told so first.
func releaseKey(s *vault.Service, x *exchange) (int, any, error) {
	var in struct {
		Target string `json:"target"`
	}
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	if in.Target == "" {
		return 0, nil, badParameter("The property 'target' is required.")
	}
	return 0, nil, s.Release(x.ctx, x.caller, x.vault, x.route.name, x.route.version)
}

// getAttestation answers with the key: nothing can be attested of a key in software, so the bundle has no
// attestation.
func getAttestation(s *vault.Service, x *exchange) (int, any, error) { return getKey(s, x) }

// randomBytes answers with as many as were asked for.
func randomBytes(s *vault.Service, x *exchange) (int, any, error) {
	var in struct {
		Count int `json:"count"`
	}
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	return shown(blobOut)(s.Random(x.ctx, x.caller, x.vault, in.Count))
}

// notOffered answers for the parts of the service that this server does not have.
func notOffered(*vault.Service, *exchange) (int, any, error) {
	return 0, nil, fault.New(fault.NotImplemented, "NotImplemented", "This vault does not offer this operation.")
}
