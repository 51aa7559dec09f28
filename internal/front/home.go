package front

import (
	"context"
	"fmt"
	"net"
	"net/http"
)

// home serves the server's own host names: health, metrics and a short text. Other paths go to
// next, which may be nil.
func (s *Server) home(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /ready", s.ready)
	mux.HandleFunc("GET /metrics", s.metrics)
	if next != nil {
		mux.Handle("/", next)
		return mux
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		plain(w, http.StatusOK, "Latchkey: a document database under its customers' own keys.\nSee latchkey help on the command line.")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "NotFound", "There is nothing under this path.")
	})
	return mux
}

// ready answers 200 when the server can work, else 503. The reason goes to the log only: this path
// asks for no proof of who is calling.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ready := s.cfg.Ready
	if ready == nil {
		ready = func(context.Context) error { return nil }
	}
	if err := ready(r.Context()); err != nil {
		s.cfg.Log.DebugContext(r.Context(), "not ready", "error", err)
		plain(w, http.StatusServiceUnavailable, "not ready")
		return
	}
	plain(w, http.StatusOK, "ready")
}

// metrics answers loopback peers only: it has no authentication.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	if ip := net.ParseIP(host); s.cfg.Metrics == nil || ip == nil || !ip.IsLoopback() {
		writeError(w, http.StatusNotFound, "NotFound", "There is nothing under this path.")
		return
	}
	s.cfg.Metrics.ServeHTTP(w, r)
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}
