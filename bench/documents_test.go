package bench

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-db/latchkey"
	"github.com/latchkey-db/latchkey/internal/load"
	"github.com/latchkey-db/latchkey/latchkeytest"
)

// emulatorKey is the key of the emulator's account, which everybody knows.
const emulatorKey = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="

// side is one of the databases that are compared.
type side struct {
	name   string
	target load.Target
}

// BenchmarkDocuments compares point reads, upserts and a 95/5 mix of documents of 1 KiB, over HTTPS, with
//
//	floor  an HTTPS server in Go that answers every request with a body of the same size, and knows nothing
//	peer   a Cosmos-compatible endpoint, LATCHKEY_PEER with the key LATCHKEY_PEER_KEY, if they are set
//
// by turns, on the same machine, with the same client. The figures that count are the ratios to the floor. Writes
// are on disk, and encrypted, before they are acknowledged.
func BenchmarkDocuments(b *testing.B) {
	srv := latchkeytest.Start(b, func(o *latchkey.Options) { o.Emulator, o.EmulatorListen = true, "127.0.0.1:0" })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(srv.RootCertificate())
	sides := []side{
		{"latchkey", load.Target{Endpoint: "https://" + srv.Addresses().Emulator, Key: emulatorKey, TLS: &tls.Config{RootCAs: roots}, Database: "bench", Container: "c"}},
		floor(b),
	}
	if peer := os.Getenv("LATCHKEY_PEER"); peer != "" {
		sides = append(sides, side{"peer", load.Target{Endpoint: peer, Key: os.Getenv("LATCHKEY_PEER_KEY"), TLS: &tls.Config{InsecureSkipVerify: true}, Database: "bench", Container: "c"}})
	}
	for _, w := range load.Workloads {
		if !w.Uniform {
			continue
		}
		for _, clients := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/clients=%d", w.Name, clients), func(b *testing.B) {
				for range b.N {
					compareDocuments(b, sides, w, clients)
				}
			})
		}
	}
}

// documentRounds are how often each side has its turn.
const documentRounds = 5

func compareDocuments(b *testing.B, sides []side, w load.Workload, clients int) {
	rates := make([][]float64, len(sides))
	var ratios, peers []float64
	for round := range documentRounds {
		now := make([]float64, len(sides))
		for turn := range sides {
			i := (round + turn) % len(sides)
			r, err := load.Run(b.Context(), load.Config{Target: sides[i].target, Workload: w, Records: 2000, Clients: clients, Duration: time.Second,
				Size: 1024, Load: round == 0, Keep: true, Seed: uint64(round + 1), Unchecked: sides[i].name == "floor"})
			if err != nil {
				b.Fatalf("%s: %v", sides[i].name, err)
			}
			if r.Failed() {
				b.Fatalf("%s: %v %v", sides[i].name, r.Errors, r.Wrong)
			}
			now[i] = r.Throughput
			rates[i] = append(rates[i], now[i])
		}
		ratios = append(ratios, now[0]/now[1])
		if len(sides) > 2 {
			peers = append(peers, now[0]/now[2])
		}
	}
	for i, s := range sides {
		b.ReportMetric(median(rates[i]), s.name+"-ops/s")
	}
	b.ReportMetric(median(ratios), "ratio")
	if len(peers) > 0 {
		b.ReportMetric(median(peers), "times-peer")
	}
	b.ReportMetric(0, "ns/op")
}

// floor is a server that answers with a constant body of the size of a document.
func floor(b *testing.B) side {
	b.Helper()
	body := []byte(`{"id":"` + strings.Repeat("x", 1250) + `"}`)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
		}
		_, _ = w.Write(body)
	}))
	s.StartTLS()
	b.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return side{"floor", load.Target{Endpoint: s.URL, Key: base64.StdEncoding.EncodeToString([]byte("no key")), TLS: &tls.Config{RootCAs: roots}, Database: "bench", Container: "c"}}
}
