package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// armVersion is the version of Resource Manager's interface that the verbs speak.
const armVersion = "2024-11-15"

// maxAnswer bounds what a verb reads of an answer.
const maxAnswer = 256 << 20

// manager talks to a running server's Resource Manager as the administrator: by the same door as every
// other client, with the same rights and the same record.
type manager struct {
	http  *http.Client
	admin credentials
	token string
}

// manager finds the server and logs in.
func (sh *shell) manager(ctx context.Context) (*manager, error) {
	i, err := sh.find()
	if err != nil {
		return nil, err
	}
	return i.manager(ctx)
}

func (i *instance) manager(ctx context.Context) (*manager, error) {
	client, err := i.client()
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(i.dir, adminFile))
	if errors.Is(err, fs.ErrPermission) {
		return nil, &problem{exitFailed, "NotPermitted", "the administrator's credentials cannot be read", "run as the user that runs the server"}
	}
	if err != nil {
		return nil, err
	}
	m := &manager{http: client}
	if err := json.Unmarshal(raw, &m.admin); err != nil {
		return nil, fmt.Errorf("read %s: %w", adminFile, err)
	}
	return m, m.login(ctx)
}

// client leads every host name to the server and trusts its authority only.
func (i *instance) client() (*http.Client, error) {
	roots, err := i.roots()
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, i.Addresses.Front)
		},
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: 16,
	}}, nil
}

func (m *manager) login(ctx context.Context) error {
	var err error
	m.token, err = m.tokenFor(ctx, "https://management.azure.com/.default")
	return err
}

// tokenFor gets a token of the administrator's.
func (m *manager) tokenFor(ctx context.Context, scope string) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {m.admin.ClientID},
		"client_secret": {m.admin.ClientSecret}, "scope": {scope}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		"https://login.microsoftonline.com/"+m.admin.TenantID+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := m.do(req, &answer); err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	return answer.Token, nil
}

// call sends a request about a resource and decodes the answer into result, unless that is nil.
func (m *manager) call(ctx context.Context, method, id string, body, result any) error {
	return m.request(ctx, method, "https://management.azure.com"+id+"?api-version="+armVersion, m.token, body, result)
}

func (m *manager) request(ctx context.Context, method, address, token string, body, result any) error {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	return m.do(req, result)
}

// refusedError is an answer that tells of a failure.
type refusedError struct {
	status        int
	code, message string
}

// Error is the server's own message.
func (e *refusedError) Error() string { return e.message }

func (m *manager) do(req *http.Request, result any) error {
	resp, err := m.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return refused(resp.StatusCode, raw)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(raw, result)
}

// refused reads the error of an answer; both of Azure's shapes are known.
func refused(status int, raw []byte) error {
	var answer struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	_ = json.Unmarshal(raw, &answer)
	e := &refusedError{status, answer.Error.Code + answer.Code, answer.Error.Message + answer.Message}
	if e.message == "" {
		e.message = http.StatusText(status)
	}
	return e
}

// resource is what the verbs need of a resource in a list.
type resource struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Location string `json:"location"`
}

// list returns the resources of one type.
func (m *manager) list(ctx context.Context, kind string) ([]resource, error) {
	var page struct {
		Value []resource `json:"value"`
	}
	err := m.call(ctx, http.MethodGet, "/subscriptions/"+m.admin.SubscriptionID+"/providers/"+kind, nil, &page)
	return page.Value, err
}

const accountKind = "Microsoft.DocumentDB/databaseAccounts"

// account finds an account by its name.
func (m *manager) account(ctx context.Context, name string) (resource, error) {
	all, err := m.list(ctx, accountKind)
	if err != nil {
		return resource{}, err
	}
	for _, r := range all {
		if strings.EqualFold(r.Name, name) {
			return r, nil
		}
	}
	return resource{}, &problem{exitFailed, "AccountNotFound", fmt.Sprintf("there is no account %q", name), "latchkey account list"}
}

// newAccountID is the resource id that an account would have.
func (m *manager) newAccountID(group, name string) string {
	return "/subscriptions/" + m.admin.SubscriptionID + "/resourceGroups/" + group + "/providers/" + accountKind + "/" + name
}

// operate carries out one of our own operations on an account.
func (m *manager) operate(ctx context.Context, id, verb string, body, result any) error {
	return m.call(ctx, http.MethodPost, id+"/latchkey/"+verb, body, result)
}
