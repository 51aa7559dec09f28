package cli

import (
	"bytes"
	"fmt"
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/latchkey-db/latchkey/internal/secret"
)

// askPassphrases lets a person at a terminal type what neither a file nor the environment gives. What was
// typed once serves the whole process.
func (sh *shell) askPassphrases() {
	terminal, ok := sh.in.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return
	}
	asked := &typed{ask: func(again bool) (*secret.Bytes, error) {
		return sh.askPassphrase(terminal, "Passphrase of the root key", again)
	}}
	sh.cfg.AskPassphrase = func() (*secret.Bytes, error) { return asked.get(false) }
	sh.cfg.AskNewPassphrase = func() (*secret.Bytes, error) { return asked.get(true) }
}

// askNewPassphrase asks for the passphrase after a rotation; nil when nobody is there to be asked.
func (sh *shell) askNewPassphrase() func() (*secret.Bytes, error) {
	terminal, ok := sh.in.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return nil
	}
	asked := &typed{ask: func(again bool) (*secret.Bytes, error) {
		return sh.askPassphrase(terminal, "New passphrase of the root key", again)
	}}
	return func() (*secret.Bytes, error) { return asked.get(true) }
}

// typed remembers what a person typed.
type typed struct {
	mu    sync.Mutex
	ask   func(again bool) (*secret.Bytes, error)
	value *secret.Bytes
}

func (t *typed) get(again bool) (*secret.Bytes, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value == nil {
		v, err := t.ask(again)
		if err != nil {
			return nil, err
		}
		t.value = v
	}
	return t.value.Clone(), nil
}

// askPassphrase reads a passphrase without showing it, twice when it is a new one.
func (sh *shell) askPassphrase(terminal *os.File, question string, again bool) (*secret.Bytes, error) {
	first, err := sh.readHidden(terminal, question)
	if err != nil || !again {
		return secret.From(first), err
	}
	second, err := sh.readHidden(terminal, "Once more")
	defer clear(second)
	if err == nil && !bytes.Equal(first, second) {
		err = &problem{exitUsage, "PassphrasesDiffer", "the two passphrases are not the same; nothing was changed", ""}
	}
	if err != nil {
		clear(first)
		return nil, err
	}
	return secret.From(first), nil
}

func (sh *shell) readHidden(terminal *os.File, question string) ([]byte, error) {
	fmt.Fprintf(sh.err, "%s: ", question)
	raw, err := term.ReadPassword(int(terminal.Fd()))
	fmt.Fprintln(sh.err)
	return raw, err
}
