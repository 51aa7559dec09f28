package front

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/latchkey-db/latchkey/internal/naming"
)

// routes is the front's handler: the Host header decides the service and the family of names.
func (s *Server) routes() http.Handler {
	handlers := map[naming.Service]http.Handler{}
	for service, h := range s.cfg.Handlers {
		handlers[service] = h
	}
	handlers[naming.Home] = s.home(handlers[naming.Home])
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target, ok := naming.Resolve(r.Host, s.port)
		h := handlers[target.Service]
		if !ok || h == nil {
			misdirected(w, r.Host)
			return
		}
		s.observed(target.Service, h, w, r.WithContext(naming.With(r.Context(), target.Names)))
	})
}

// observed serves one request and tells the observer of its outcome. Neither path nor query go to
// the log: they may hold names that are the customer's.
func (s *Server) observed(service naming.Service, h http.Handler, w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
	h.ServeHTTP(recorder, r)
	elapsed := time.Since(start)
	if s.cfg.Observe != nil {
		s.cfg.Observe(service, recorder.status, elapsed)
	}
	if s.cfg.Log.Enabled(r.Context(), slog.LevelDebug) {
		s.cfg.Log.DebugContext(r.Context(), "request served", "service", string(service),
			"method", r.Method, "status", recorder.status, "elapsed", elapsed)
	}
}

// statusRecorder remembers the status of an answer.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader remembers a final status; the informational ones pass.
func (r *statusRecorder) WriteHeader(status int) {
	if status >= http.StatusOK {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find the connection.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// misdirected answers for a host that this server does not serve (RFC 9110, 15.5.20).
func misdirected(w http.ResponseWriter, host string) {
	writeError(w, http.StatusMisdirectedRequest, "MisdirectedRequest",
		fmt.Sprintf("The host %q is not served here.", printable(host)))
}

// writeError answers with the error form that all of Azure's services share.
func writeError(w http.ResponseWriter, status int, code, message string) {
	type detail struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	body, _ := json.Marshal(map[string]detail{"error": {code, message}}) // strings always encode
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// emulatorRoutes is the emulator's handler: one for all paths, and no host name that a web page of
// somebody else could be served under.
func (s *Server) emulatorRoutes() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target, ok := naming.Resolve(r.Host, s.port)
		if !ok || target.Service != naming.Home || s.cfg.Emulator == nil {
			misdirected(w, r.Host)
			return
		}
		s.observed(naming.Documents, s.cfg.Emulator, w, r)
	})
}

// recoverPanics turns a panic of a handler into an answer and a log line.
func recoverPanics(log *slog.Logger, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == http.ErrAbortHandler {
				panic(p)
			}
			if p != nil {
				log.ErrorContext(r.Context(), "a handler panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				writeError(w, http.StatusInternalServerError, "InternalServerError", "The server met an unexpected condition.")
			}
		}()
		h.ServeHTTP(w, r)
	})
}
