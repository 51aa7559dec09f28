// Package latchkeytest starts a whole Latchkey server for a Go test, in a line:
//
//	srv := latchkeytest.Start(t)
//	o := &azkeys.ClientOptions{}
//	o.Transport = srv.HTTPClient()
//	client, err := azkeys.NewClient("https://kv1.vault.azure.net", latchkeytest.Credential(t, srv), o)
//
// The server lives in the test's temporary directory, listens on free ports of this machine, and
// ends with the test.
package latchkeytest

import (
	"context"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/latchkey-db/latchkey"
)

// stopTimeout bounds the end of a test's server.
const stopTimeout = 10 * time.Second

// Start starts a server. Options may be given to change its defaults; a DataDir in them is kept
// after the test.
func Start(t testing.TB, options ...func(*latchkey.Options)) *latchkey.Server {
	t.Helper()
	o := latchkey.Options{DataDir: t.TempDir()}
	for _, f := range options {
		f(&o)
	}
	s, err := latchkey.Start(context.Background(), o)
	if err != nil {
		t.Fatalf("start latchkey: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("stop latchkey: %v", err)
		}
	})
	return s
}

// Credential is the administrator's, for SDK clients with the public cloud's defaults.
func Credential(t testing.TB, s *latchkey.Server) azcore.TokenCredential {
	t.Helper()
	a := s.Administrator()
	o := &azidentity.ClientSecretCredentialOptions{DisableInstanceDiscovery: true}
	o.Transport = s.HTTPClient()
	c, err := azidentity.NewClientSecretCredential(a.TenantID, a.ClientID, a.ClientSecret, o)
	if err != nil {
		t.Fatalf("credential: %v", err)
	}
	return c
}
