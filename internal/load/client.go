package load

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Target is a database.
type Target struct {
	Endpoint string // https://host:port/
	Key      string // the account's, base64
	TLS      *tls.Config
	// Database and Container name what is used; both are made, and removed, when they are not there.
	Database, Container string
}

// client sends signed requests.
type client struct {
	http      *http.Client
	base      string
	key       []byte
	container string // dbs/…/colls/…
}

func newClient(t Target, clients int) (*client, error) {
	key, err := base64.StdEncoding.DecodeString(t.Key)
	if err != nil {
		return nil, errors.New("the key is not base64")
	}
	u, err := url.Parse(t.Endpoint)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("the endpoint %q is no address", t.Endpoint)
	}
	transport := &http.Transport{
		TLSClientConfig: t.TLS, MaxIdleConns: clients, MaxIdleConnsPerHost: clients, DisableCompression: true,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	}
	return &client{
		http: &http.Client{Transport: transport, Timeout: 60 * time.Second}, base: strings.TrimSuffix(t.Endpoint, "/") + "/", key: key,
		container: "dbs/" + t.Database + "/colls/" + t.Container,
	}, nil
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// refusedError is an answer that was not wanted.
type refusedError struct {
	status    int
	substatus string
	body      string
}

// Error names the status, and the server's words.
func (e *refusedError) Error() string {
	if e.substatus != "" && e.substatus != "0" {
		return fmt.Sprintf("%d/%s: %.200s", e.status, e.substatus, e.body)
	}
	return fmt.Sprintf("%d: %.200s", e.status, e.body)
}

// request is one request. kind and link are what is signed: the type of the resource and its name.
type request struct {
	method, path, kind, link string
	body                     []byte
	header                   [][2]string
}

// do sends a request once.
func (c *client) do(ctx context.Context, r request) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, bytes.NewReader(r.body))
	if err != nil {
		return answer{}, err
	}
	date := strings.ToLower(time.Now().UTC().Format(http.TimeFormat))
	m := hmac.New(sha256.New, c.key)
	m.Write([]byte(strings.ToLower(r.method) + "\n" + r.kind + "\n" + r.link + "\n" + date + "\n\n"))
	req.Header = http.Header{
		"X-Ms-Date": {date}, "X-Ms-Version": {"2020-07-15"}, "Content-Type": {"application/json"},
		"Authorization": {"type%3Dmaster%26ver%3D1.0%26sig%3D" + url.QueryEscape(base64.StdEncoding.EncodeToString(m.Sum(nil)))},
	}
	for _, h := range r.header {
		req.Header.Set(h[0], h[1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body}, err
}

// wanted turns answers that are not among the statuses into errors.
func wanted(a answer, err error, statuses ...int) error {
	if err != nil {
		return err
	}
	for _, s := range statuses {
		if a.status == s {
			return nil
		}
	}
	return &refusedError{a.status, a.header.Get("x-ms-substatus"), string(a.body)}
}

// prepare makes the database and the container. made tells which of them were not there.
func (c *client) prepare(ctx context.Context, t Target) (made []string, err error) {
	for _, r := range []struct {
		feed, kind, link, body, path string
	}{
		{"dbs", "dbs", "", `{"id":` + quoted(t.Database) + `}`, "dbs/" + t.Database},
		{"dbs/" + t.Database + "/colls", "colls", "dbs/" + t.Database,
			`{"id":` + quoted(t.Container) + `,"partitionKey":{"paths":["/pk"],"kind":"Hash","version":2}}`, c.container},
	} {
		a, err := c.do(ctx, request{method: http.MethodPost, path: r.feed, kind: r.kind, link: r.link, body: []byte(r.body)})
		if err := wanted(a, err, http.StatusCreated, http.StatusConflict); err != nil {
			return made, fmt.Errorf("make %s: %w", r.path, err)
		}
		if a.status == http.StatusCreated {
			made = append(made, r.path)
		}
	}
	return made, nil
}

// remove deletes what prepare made, the outermost only.
func (c *client) remove(ctx context.Context, made []string) error {
	if len(made) == 0 {
		return nil
	}
	kind := "colls"
	if strings.Count(made[0], "/") == 1 {
		kind = "dbs"
	}
	a, err := c.do(ctx, request{method: http.MethodDelete, path: made[0], kind: kind, link: made[0]})
	return wanted(a, err, http.StatusNoContent, http.StatusNotFound)
}

func quoted(s string) string {
	b, _ := json.Marshal(s) // a string can always be written
	return string(b)
}

// pause is how long a refusal for lack of throughput asks to wait.
func pause(a answer) time.Duration {
	ms, err := strconv.Atoi(a.header.Get("x-ms-retry-after-ms"))
	if err != nil || ms < 1 {
		ms = 100
	}
	return time.Duration(ms) * time.Millisecond
}
