package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/latchkey-db/latchkey"
	"github.com/latchkey-db/latchkey/internal/demo"
	"github.com/latchkey-db/latchkey/internal/fastrsa"
	"github.com/latchkey-db/latchkey/latchkeytest"
)

const (
	unwrapHost    = demo.Vault + ".vault.azure.net"
	unwrapClients = 32 // that ask at once, each on a connection of its own
	unwrapAhead   = 8  // requests that a client sends ahead of the answers, where it does
	unwrapTime    = 4 * time.Second
)

// BenchmarkUnwrap measures unwrapKey through everything that a real caller meets: TLS, the bearer
// token, the decision, the private-key operation, the durable audit record, JSON. The figure that
// counts is the ratio to the bare private-key operation of `openssl speed` on all cores, measured just
// before and just after. The clients run on the same cores, so they are as lean as clients can be:
// their requests are made beforehand, and in "ratio" each sends some of them ahead of the answers
// (RFC 9112, 9.3.2); in "waiting-ratio" it waits for each answer. "cpu-ratio" compares the processor
// time of one operation, clients included: others who use the machine disturb it less. The latencies
// are those at half load, with clients that wait, from the moment at which each request was due.
//
// With the build tag libcrypto the private-key operation is OpenSSL's too (docs/decisions/0008).
func BenchmarkUnwrap(b *testing.B) {
	if _, err := exec.LookPath("openssl"); err != nil {
		b.Skip("there is nothing to compare with: ", err)
	}
	srv, o := operator(b)
	for _, bits := range []int{2048, 3072, 4096} {
		b.Run(fmt.Sprintf("%s/bits=%d", strings.Fields(fastrsa.Provider())[0], bits), func(b *testing.B) {
			w := wrapped(b, srv, o, int32(bits))
			for range b.N {
				measureUnwrap(b, w, bits)
			}
		})
	}
}

func measureUnwrap(b *testing.B, w *unwrapping, bits int) {
	b.Helper()
	cores := []string{"-elapsed", "-multi", strconv.Itoa(runtime.NumCPU())}
	before, perCPU := opensslSpeed(b, bits, cores...), opensslSpeed(b, bits)
	single, _ := w.run(b, 1, 1, 0)
	waiting, _ := w.run(b, unwrapClients, 1, 0)
	used := cpuTime(b)
	all, took := w.run(b, unwrapClients, unwrapAhead, 0)
	used = (cpuTime(b) - used) / time.Duration(len(took))
	raw := (before + opensslSpeed(b, bits, cores...)) / 2
	_, took = w.run(b, unwrapClients, 1, waiting/2)
	b.ReportMetric(raw, "openssl/s")
	b.ReportMetric(single, "1-client/s")
	b.ReportMetric(waiting/raw, "waiting-ratio")
	b.ReportMetric(all, "unwraps/s")
	b.ReportMetric(all/raw, "ratio")
	b.ReportMetric(1/perCPU/used.Seconds(), "cpu-ratio")
	b.ReportMetric(float64(used.Microseconds()), "cpu-µs/unwrap")
	b.ReportMetric(milliseconds(percentile(took, 50)), "half-p50-ms")
	b.ReportMetric(milliseconds(percentile(took, 99)), "half-p99-ms")
	b.ReportMetric(0, "ns/op")
}

// cpuTime is what this process, clients and server, has used so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// opensslSpeed returns how many private-key operations OpenSSL does in a second of one process's
// processor time or, with -elapsed, of the clock.
func opensslSpeed(b *testing.B, bits int, options ...string) float64 {
	b.Helper()
	args := append([]string{"speed", "-seconds", "2"}, options...)
	out, err := exec.Command("openssl", append(args, fmt.Sprint("rsa", bits))...).Output()
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(out)) { // rsa 2048 bits 0.000295s 0.000015s   3394.0  68664.0
		if f := strings.Fields(line); len(f) == 7 && f[0] == "rsa" && f[1] == strconv.Itoa(bits) {
			v, err := strconv.ParseFloat(f[5], 64)
			if err != nil {
				b.Fatal(err)
			}
			return v
		}
	}
	b.Skipf("openssl speed does not tell: %s", out)
	return 0
}

// unwrapping is a request that unwraps a key, and what its answer must hold.
type unwrapping struct {
	address string
	config  *tls.Config
	request []byte
	answer  []byte
}

// wrapped makes a key in the vault, wraps 32 bytes with it, and prepares the request that unwraps them.
func wrapped(b *testing.B, srv *latchkey.Server, o *demo.SDK, bits int32) *unwrapping {
	b.Helper()
	ctx, name := context.Background(), fmt.Sprint("unwrap", bits)
	options := &azkeys.ClientOptions{}
	options.Transport = o.HTTP
	c, err := azkeys.NewClient("https://"+unwrapHost, o.Credential, options)
	if err != nil {
		b.Fatal(err)
	}
	made, err := c.CreateKey(ctx, name, azkeys.CreateKeyParameters{Kty: pointer(azkeys.KeyTypeRSA), KeySize: &bits}, nil)
	if err != nil {
		b.Fatal(err)
	}
	plain := make([]byte, 32)
	_, _ = rand.Read(plain)
	algorithm := azkeys.EncryptionAlgorithmRSAOAEP256
	w, err := c.WrapKey(ctx, name, made.Key.KID.Version(), azkeys.KeyOperationParameters{Algorithm: &algorithm, Value: plain}, nil)
	if err != nil {
		b.Fatal(err)
	}
	token, err := latchkeytest.Credential(b, srv).GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}})
	if err != nil {
		b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(srv.RootCertificate())
	body := fmt.Sprintf(`{"alg":"RSA-OAEP-256","value":"%s"}`, base64.RawURLEncoding.EncodeToString(w.Result))
	return &unwrapping{
		address: srv.Addresses().Front,
		config:  &tls.Config{ServerName: unwrapHost, RootCAs: roots},
		request: fmt.Appendf(nil, "POST /keys/%s/%s/unwrapkey?api-version=7.4 HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			name, made.Key.KID.Version(), unwrapHost, token.Token, len(body), body),
		answer: fmt.Appendf(nil, `"value":"%s"}`, base64.RawURLEncoding.EncodeToString(plain)),
	}
}

func pointer[T any](v T) *T { return &v }

// run unwraps with a number of clients at once, as often as they can or, with a rate, so often a second.
// Each client sends a number of requests ahead; 1 is none but the one that it waits for.
func (w *unwrapping) run(b *testing.B, clients, ahead int, rate float64) (perSecond float64, took []time.Duration) {
	b.Helper()
	var connected, done sync.WaitGroup
	var due atomic.Int64
	var mu sync.Mutex
	start := make(chan time.Time)
	connected.Add(clients)
	for range clients {
		done.Go(func() {
			var own []time.Duration
			c, err := w.connect(ahead)
			connected.Done()
			begin := <-start
			for err == nil {
				at := begin
				if rate > 0 {
					at = begin.Add(time.Duration(float64(due.Add(1)) / rate * float64(time.Second)))
					time.Sleep(time.Until(at))
				} else {
					at = time.Now()
				}
				if at.Sub(begin) > unwrapTime {
					break
				}
				err = c.unwrap(w)
				for range ahead {
					own = append(own, time.Since(at))
				}
			}
			if err != nil {
				b.Error(err)
			} else {
				_ = c.conn.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
		})
	}
	connected.Wait()
	begin := time.Now()
	for range clients {
		start <- begin
	}
	done.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return float64(len(took)) / time.Since(begin).Seconds(), took
}

// unwrapClient is a connection that is kept.
type unwrapClient struct {
	conn     *tls.Conn
	requests []byte
	ahead    int
	buf      []byte
}

func (w *unwrapping) connect(ahead int) (*unwrapClient, error) {
	conn, err := tls.Dial("tcp", w.address, w.config)
	if err != nil {
		return nil, err
	}
	c := &unwrapClient{conn, bytes.Repeat(w.request, ahead), ahead, make([]byte, 4<<10*ahead)}
	return c, c.unwrap(w)
}

// unwrap sends the requests and reads the whole answers, which must be the right ones.
func (c *unwrapClient) unwrap(w *unwrapping) error {
	if _, err := c.conn.Write(c.requests); err != nil {
		return err
	}
	have, done := 0, 0
	for answers := 0; answers < c.ahead; {
		n, err := c.conn.Read(c.buf[have:])
		if err != nil {
			return err
		}
		have += n
		for {
			n := answerLength(c.buf[done:have])
			if n < 0 || done+n > have {
				break
			}
			if err := w.check(c.buf[done : done+n]); err != nil {
				return err
			}
			done += n
			answers++
		}
	}
	return nil
}

func (w *unwrapping) check(answer []byte) error {
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) || !bytes.HasSuffix(answer, w.answer) {
		return errors.New(string(answer))
	}
	return nil
}

// answerLength is the length of the first answer with its header; -1 while that cannot be told.
func answerLength(b []byte) int {
	head := bytes.Index(b, []byte("\r\n\r\n"))
	if head < 0 {
		return -1
	}
	_, rest, ok := bytes.Cut(b[:head+2], []byte("\r\nContent-Length: "))
	length, _, _ := bytes.Cut(rest, []byte("\r\n"))
	n, err := strconv.Atoi(string(length))
	if !ok || err != nil {
		return -1
	}
	return head + 4 + n
}
