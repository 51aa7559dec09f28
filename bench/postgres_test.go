package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgres is a server with the documents in a table. Its settings are its defaults, but for as much cache as ours has.
type postgres struct{ conn *pgx.Conn }

// startPostgres starts a server in a temporary directory, which also has its only socket.
func startPostgres(b *testing.B) *postgres {
	b.Helper()
	bin := postgresPrograms(b)
	dir, err := os.MkdirTemp("", "latchkey-bench-pg")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	as := ordinaryUser(b, dir)
	data := filepath.Join(dir, "data")
	run := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir, cmd.SysProcAttr = dir, as
		return cmd
	}
	if out, err := run("initdb", "-D", data, "-U", "bench", "--auth=trust", "--no-instructions", "--locale=C", "--encoding=UTF8").CombinedOutput(); err != nil {
		b.Skipf("initdb: %v\n%s", err, out)
	}
	cmd := run("postgres", "-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories="+dir, "-c", "shared_buffers=256MB", "-c", "logging_collector=off")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait()
	})
	return &postgres{connectPostgres(b, dir)}
}

// ordinaryUser is whom the server runs as, to whom the directory goes: it refuses to run as root.
func ordinaryUser(b *testing.B, dir string) *syscall.SysProcAttr {
	if os.Getuid() != 0 {
		return nil
	}
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		b.Skip(err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

func connectPostgres(b *testing.B, dir string) *pgx.Conn {
	b.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(b.Context(), "host="+dir+" user=bench dbname=postgres")
		if err == nil {
			b.Cleanup(func() { _ = conn.Close(context.Background()) })
			return conn
		}
		if time.Since(began) > 30*time.Second {
			b.Fatal(err)
		}
	}
}

// postgresPrograms is where the server's programs are: those that are installed, or those of Debian's packages,
// unpacked where nothing else sees them.
func postgresPrograms(b *testing.B) string {
	b.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1])
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	out, err := exec.Command("apt-cache", "depends", "postgresql").Output()
	name := regexp.MustCompile(`postgresql-\d+`).FindString(string(out))
	if err != nil || name == "" {
		b.Skipf("PostgreSQL is not installed, and there is no package of it: %v", err)
	}
	dir, err := os.MkdirTemp("", "latchkey-bench-deb")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	unpack := exec.Command("sh", "-c", `apt-get download "$0" libpq5 && for d in *.deb; do dpkg-deb -x "$d" .; done`, name)
	unpack.Dir = dir
	if out, err := unpack.CombinedOutput(); err != nil {
		b.Skipf("the packages of PostgreSQL cannot be had: %v\n%s", err, out)
	}
	bin, _ := filepath.Glob(filepath.Join(dir, "usr/lib/postgresql/*/bin"))
	if len(bin) == 0 {
		b.Skip("the packages of PostgreSQL have no programs")
	}
	return bin[0]
}

// load fills the table, and gives the index and the statistics that an application would.
func (p *postgres) load(ctx context.Context, count int) error {
	if _, err := p.conn.Exec(ctx, `CREATE TABLE docs (pk text, id text, body jsonb NOT NULL, PRIMARY KEY (pk, id))`); err != nil {
		return err
	}
	n := 0
	_, err := p.conn.CopyFrom(ctx, pgx.Identifier{"docs"}, []string{"pk", "id", "body"}, pgx.CopyFromFunc(func() ([]any, error) {
		if n == count {
			return nil, nil
		}
		row := []any{fmt.Sprintf("tenant-%04d", n%1000), fmt.Sprintf("item-%07d", n), queryDocument(n)}
		n++
		return row, nil
	}))
	for _, text := range []string{`CREATE INDEX ON docs USING gin (body jsonb_path_ops)`, `VACUUM (ANALYZE) docs`, `CHECKPOINT`} {
		if err == nil {
			_, err = p.conn.Exec(ctx, text)
		}
	}
	return err
}

// ask runs a query. Its statement is prepared once.
func (p *postgres) ask(ctx context.Context, q peerQuery, param string) (a answer, err error) {
	args := []any{pgx.QueryResultFormats{pgx.TextFormatCode}}
	if param != "" {
		args = append(args, param)
	}
	rows, err := p.conn.Query(ctx, q.sql, args...)
	if err != nil {
		return a, err
	}
	defer rows.Close()
	for rows.Next() {
		a.results = append(a.results, slices.Clone(rows.RawValues()[0]))
	}
	return a, rows.Err()
}

// durations are the times of calls.
type durations []time.Duration

func (d durations) median() time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
