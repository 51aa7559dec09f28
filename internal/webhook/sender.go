package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// sender sends to one receiver. Only its own goroutine uses it.
type sender struct {
	*Hub
	lane    *lane
	allowed bool          // the receiver agreed to hear from us
	pause   time.Duration // between two events, when the receiver limits the rate
	wait    time.Duration // before the next attempt; 0 after a success
}

// run sends what is queued and waits for more.
func (s *sender) run(ctx context.Context) {
	for ctx.Err() == nil {
		q, ok, err := s.first(s.lane)
		switch {
		case err != nil:
			s.cfg.Log.Error("the queue of a webhook cannot be read", "receiver", s.lane.target.host(), "error", err)
			return
		case !ok:
			select {
			case <-ctx.Done():
			case <-s.lane.wake:
			}
			continue
		}
		if err := s.deliver(ctx, q); errors.Is(err, errStop) {
			s.cfg.Log.Error("a webhook hears nothing until the next start", "receiver", s.lane.target.host(), "error", err)
			return
		}
	}
}

// deliver tries one event once, and decides what becomes of it.
func (s *sender) deliver(ctx context.Context, q queued) error {
	after, err := s.attempt(ctx, q)
	var final *rejectedError
	switch {
	case err == nil:
		s.wait = 0
		if err := s.forget(s.lane, q); err != nil {
			return fmt.Errorf("%w: %w", errStop, err) // the store failed: the event would be sent for ever
		}
		return sleep(ctx, s.pause)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errStop):
		return err
	case errors.As(err, &final), s.cfg.Now().Sub(q.Since) > maxAge:
		s.cfg.Log.Error("an event could not be delivered and is given up", "receiver", s.lane.target.host(), "type", q.Event.Type, "id", q.Event.ID, "error", err)
		return s.forget(s.lane, q)
	}
	s.wait = min(max(2*s.wait, firstWait), maxWait)
	s.cfg.Log.Warn("a webhook does not take an event; it is tried again", "receiver", s.lane.target.host(), "type", q.Event.Type, "wait", s.wait, "error", err)
	return sleep(ctx, max(after, s.wait/2+jitter(s.wait/2)))
}

// rejectedError is an answer that will not become another one.
type rejectedError struct{ status int }

// Error tells the status.
func (e *rejectedError) Error() string {
	return "the receiver calls the event wrong: status " + strconv.Itoa(e.status)
}

// attempt asks for permission where it is missing, and sends. after is how long the receiver asks us to wait.
func (s *sender) attempt(ctx context.Context, q queued) (after time.Duration, err error) {
	if !s.allowed {
		if err := s.ask(ctx); err != nil {
			return 0, err
		}
	}
	body, err := json.Marshal(q.Event)
	if err != nil {
		return 0, err
	}
	resp, err := s.do(ctx, http.MethodPost, body)
	if err != nil {
		return 0, err
	}
	defer drain(resp)
	switch c := resp.StatusCode; {
	case c >= 200 && c < 300:
		return 0, nil
	case c == http.StatusGone:
		return 0, errGone()
	case c == http.StatusBadRequest, c == http.StatusRequestEntityTooLarge:
		return 0, &rejectedError{c}
	case c == http.StatusUnauthorized, c == http.StatusForbidden:
		s.allowed = false // it may have changed its mind: ask again
	}
	return retryAfter(resp), fmt.Errorf("status %d", resp.StatusCode)
}

// retryAfter is how long an answer asks us to wait, within our own bound.
func retryAfter(resp *http.Response) time.Duration {
	n, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, maxWait)
}

// ask is the handshake of CloudEvents' abuse protection.
func (s *sender) ask(ctx context.Context) error {
	resp, err := s.do(ctx, http.MethodOptions, nil)
	if err != nil {
		return err
	}
	defer drain(resp)
	switch origin := resp.Header.Get("WebHook-Allowed-Origin"); {
	case resp.StatusCode == http.StatusGone:
		return errGone()
	case resp.StatusCode < 200 || resp.StatusCode >= 300:
		return fmt.Errorf("asked whether it wants events: status %d", resp.StatusCode)
	case origin != "*" && !strings.EqualFold(origin, s.cfg.Origin):
		return errors.New("asked whether it wants events, the receiver did not allow us (WebHook-Allowed-Origin)")
	}
	s.allowed, s.pause = true, 0
	if perMinute, err := strconv.Atoi(resp.Header.Get("WebHook-Allowed-Rate")); err == nil && perMinute > 0 {
		s.pause = time.Minute / time.Duration(perMinute)
	}
	return nil
}

func (s *sender) do(ctx context.Context, method string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.lane.target.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the address cannot be used")
	}
	req.Header.Set("User-Agent", "latchkey-webhook/1")
	if method == http.MethodOptions {
		req.Header.Set("WebHook-Request-Origin", s.cfg.Origin)
	} else {
		req.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
		req.Header.Set("Latchkey-Signature", s.sign(body))
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, concealed(err)
	}
	return resp, nil
}

// concealed is a failure of a connection without the address, which may hold a secret.
func concealed(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// sign is the header that proves who sent a body, and when.
func (s *sender) sign(body []byte) string {
	t := strconv.FormatInt(s.cfg.Now().Unix(), 10)
	m := hmac.New(sha256.New, s.cfg.Secret.Reveal())
	m.Write([]byte(t + "."))
	m.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(m.Sum(nil))
}

// sleep waits, or returns the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
