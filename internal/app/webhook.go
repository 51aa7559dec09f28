package app

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/secret"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/vault"
	"github.com/latchkey-db/latchkey/internal/webhook"
)

// webhookOrigin is who we are to receivers: the service from whose vaults the events come.
var webhookOrigin = naming.Azure().VaultDomain()

// openWebhooks opens the queues and returns what the vaults tell their events; nil without receivers.
func (s *Server) openWebhooks() (func(*store.Batch, vault.Event) error, error) {
	if len(s.cfg.Webhooks) == 0 {
		return nil, nil
	}
	key, err := s.webhookKey()
	if err != nil {
		return nil, err
	}
	s.onStop(func(context.Context) error { key.Wipe(); return nil })
	cfg := webhook.Config{DB: s.control, Secret: key, Origin: webhookOrigin, Log: s.log}
	for _, w := range s.cfg.Webhooks {
		t, err := webhook.ParseTarget(w, s.cfg.WebhookInsecure)
		if err != nil {
			return nil, err
		}
		cfg.Targets = append(cfg.Targets, t)
	}
	if s.webhooks, err = webhook.Open(cfg); err != nil {
		return nil, err
	}
	return func(b *store.Batch, e vault.Event) error { return s.webhooks.Queue(b, e.Vault, cloudEvent(e)) }, nil
}

// webhookKey is the secret of the file, without the line's end, or the one that was given.
func (s *Server) webhookKey() (*secret.Bytes, error) {
	if s.cfg.WebhookSecret == "" {
		return s.cfg.WebhookKey.Clone(), nil
	}
	raw, err := os.ReadFile(s.cfg.WebhookSecret)
	if err != nil {
		return nil, fmt.Errorf("read the webhooks' secret: %w", err)
	}
	if raw = bytes.TrimRight(raw, "\r\n"); len(raw) == 0 {
		return nil, fmt.Errorf("the webhooks' secret in %s is empty", s.cfg.WebhookSecret)
	}
	return secret.From(raw), nil
}

// cloudEvent is a vault's event as receivers see it.
func cloudEvent(e vault.Event) webhook.Event {
	return webhook.New(e.ID, e.VaultID, string(e.Type), e.Time, webhook.Data{ID: e.Address, VaultName: e.Vault, ObjectType: e.Kind, ObjectName: e.Name,
		Version: e.Version, NotBefore: webhook.Seconds(e.NotBefore), Expires: webhook.Seconds(e.Expires)})
}

// told makes the senders look, and the sweep: a version may have another end than before.
func (s *Server) told() {
	if s.webhooks != nil {
		s.webhooks.Wake()
		s.sweeper.hint()
	}
}

// webhookSenders are the jobs that send.
func (s *Server) webhookSenders() []func(context.Context) {
	if s.webhooks == nil {
		return nil
	}
	return s.webhooks.Senders()
}
