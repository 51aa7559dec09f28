package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
)

// documents is how many documents the demo writes.
const documents = 1000

// limit is how long a revocation or a return may take before the demo calls it failed.
const limit = 2 * time.Second

// Stage is what a play needs: the operator's client, the Go clients that read the status and the
// documents, and the directory to search.
type Stage struct {
	Operator Operator
	Client   *SDK
	DataDir  string
	Out      io.Writer
}

// Play plays the tutorial on a fresh server and reports whether all went as it must.
func Play(ctx context.Context, s Stage) error {
	p := &play{Stage: s, names: newNames(), docs: newDocuments(documents), start: time.Now()}
	for _, act := range []func(context.Context) error{p.prepare, p.enable, p.write, p.prove, p.revocations, p.rotate} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	p.summary()
	return nil
}

// play is one performance.
type play struct {
	Stage
	names names
	docs  []document
	start time.Time

	database  string // object id of the database's principal
	keyURI    string
	container *azcosmos.ContainerClient
	rows      []row
}

// row is a line of the summary.
type row struct{ What, Outcome, Gone, Back string }

func (p *play) title(format string, args ...any) {
	fmt.Fprintf(p.Out, "\n%s\n", fmt.Sprintf(format, args...))
}

// step does one thing of the play and prints the command that does it, what it means and how long
// it took.
func (p *play) step(command, meaning string, f func() error) error {
	fmt.Fprintf(p.Out, "  $ %s\n", command)
	start := time.Now()
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	fmt.Fprintf(p.Out, "    %s (%s)\n", meaning, round(time.Since(start)))
	return nil
}

// step is one thing that the operator does: the command, what it means, and the doing.
type step struct {
	command, meaning string
	do               func() error
}

// steps does one step after the other, up to the first that fails.
func (p *play) steps(all []step) error {
	for _, s := range all {
		if err := p.step(s.command, s.meaning, s.do); err != nil {
			return err
		}
	}
	return nil
}

func round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

func (p *play) prepare(ctx context.Context) error {
	p.title("1. What the tutorial starts from: a group, a vault, an account")
	o := p.Operator
	return p.steps([]step{
		{"az group create --name " + Group + " --location " + Location, "a resource group", func() error { return o.CreateGroup(ctx) }},
		{"az keyvault create --name " + Vault + " --enable-purge-protection true …", "a vault with soft delete and purge protection", func() error { return o.CreateVault(ctx) }},
		{"az cosmosdb create --name " + Account + " …", "an account, encrypted under the platform's key so far", func() error { return o.CreateAccount(ctx) }},
	})
}

func (p *play) enable(ctx context.Context) error {
	p.title("2. The customer takes over: grant, key, account")
	o := p.Operator
	err := p.steps([]step{
		{`RP_SP_ID=$(az ad sp list --display-name "Microsoft.DocumentDB" …)`, "the database's own service principal", func() (err error) {
			p.database, err = o.FindDatabase(ctx)
			return err
		}},
		{"az keyvault set-policy --object-id $RP_SP_ID --key-permissions get wrapKey unwrapKey …", "it may wrap and unwrap, and nothing else",
			func() error { return o.Grant(ctx, p.database) }},
		{"az keyvault key create --name " + Key + " --kty RSA --size 2048 …", "the key; it never leaves the vault", func() error { return o.CreateKey(ctx) }},
		{"KEY_URI=$(az keyvault show --query properties.vaultUri …)keys/" + Key, "the key's address", func() error {
			vault, err := o.VaultURI(ctx)
			p.keyURI = vault + "keys/" + Key
			return err
		}},
		{"az cosmosdb update --key-uri $KEY_URI …", "from now on all data is encrypted under that key", func() error { return o.PointAccount(ctx, p.keyURI) }},
	})
	if err != nil {
		return err
	}
	return p.showStatus(ctx)
}

func (p *play) showStatus(ctx context.Context) error {
	st, err := p.Client.Status(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.Out, "    customerManagedKeyStatus: %s\n    key version in use:       %s\n", st.Text, st.KeyVersion)
	return nil
}

func (p *play) write(ctx context.Context) error {
	p.title("3. Documents")
	key, err := p.Operator.MasterKey(ctx)
	if err != nil {
		return err
	}
	cosmos, err := Cosmos(p.Client.HTTP, Account, key)
	if err != nil {
		return err
	}
	return p.step(fmt.Sprintf("azcosmos: CreateItem, %d times, %d at once", documents, writers), "each acknowledged after it was on disk", func() error {
		if p.container, err = makeContainer(ctx, cosmos, p.names); err != nil {
			return err
		}
		return writeDocuments(ctx, p.container, p.docs)
	})
}

func (p *play) prove(context.Context) error {
	p.title("4. Is any of it on the disk in clear?")
	needles := []string{}
	for _, d := range p.docs {
		needles = append(needles, d.Marker, d.ID[len("id-"):], d.City[len("city-"):])
	}
	needles = append(needles, p.names.Database[len("db-"):], p.names.Container[len("coll-"):])
	var r searchResult
	err := p.step(fmt.Sprintf("search %s for %d random words out of documents, ids, keys and names", p.DataDir, len(needles)), "searched", func() (err error) {
		r, err = search(p.DataDir, needles)
		return err
	})
	if err != nil {
		return err
	}
	if len(r.Found) > 0 {
		return fmt.Errorf("plaintext on disk: %v", r.Found[0])
	}
	fmt.Fprintf(p.Out, "    %d files, %d bytes: not one of them found\n", r.Files, r.Bytes)
	p.rows = append(p.rows, row{"plaintext on disk", "none", "", ""})
	return nil
}

// way is one way of taking the key away, and of giving it back.
type way struct {
	name       string
	take, give string // the commands
	takeIt     func(context.Context) error
	giveIt     func(context.Context) error
}

func (p *play) ways() []way {
	o := p.Operator
	return []way{
		{"key disabled", "az keyvault key set-attributes --enabled false …", "az keyvault key set-attributes --enabled true …",
			func(ctx context.Context) error { return o.SetKeyEnabled(ctx, false) },
			func(ctx context.Context) error { return o.SetKeyEnabled(ctx, true) }},
		{"permission withdrawn", "az keyvault delete-policy --object-id $RP_SP_ID …", "az keyvault set-policy --object-id $RP_SP_ID --key-permissions get wrapKey unwrapKey …",
			func(ctx context.Context) error { return o.Withdraw(ctx, p.database) },
			func(ctx context.Context) error { return o.Grant(ctx, p.database) }},
		{"key deleted", "az keyvault key delete …", "az keyvault key recover …", o.DeleteKey, o.RecoverKey},
	}
}

func (p *play) revocations(ctx context.Context) error {
	p.title("5. Take the key away, in three ways, and give it back")
	for _, w := range p.ways() {
		if err := p.revoke(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

func (p *play) revoke(ctx context.Context, w way) error {
	if err := p.step(w.take, w.name, func() error { return w.takeIt(ctx) }); err != nil {
		return err
	}
	var r *refusal
	gone, err := p.until(ctx, func() (bool, error) {
		var err error
		r, err = readOne(ctx, p.container, p.docs[0])
		return r != nil, err
	})
	if err != nil {
		return fmt.Errorf("%s: the data did not become inaccessible: %w", w.name, err)
	}
	fmt.Fprintf(p.Out, "    reading a document: HTTP %d, sub-status %s, %s after the command\n", r.Status, r.Substatus, round(gone))
	if err := p.showStatus(ctx); err != nil {
		return err
	}
	if err := p.step(w.give, "given back", func() error { return w.giveIt(ctx) }); err != nil {
		return err
	}
	back, err := p.until(ctx, func() (bool, error) {
		r, err := readOne(ctx, p.container, p.docs[0])
		return r == nil && err == nil, err
	})
	if err != nil {
		return fmt.Errorf("%s: the data did not return: %w", w.name, err)
	}
	if err := compareDocuments(ctx, p.container, p.docs); err != nil {
		return err
	}
	fmt.Fprintf(p.Out, "    back by itself %s after the command; all %d documents compared equal\n", round(back), len(p.docs))
	p.rows = append(p.rows, row{w.name, "403/" + r.Substatus + ", then all documents equal", round(gone).String(), round(back).String()})
	return nil
}

// until asks f until it says yes, and returns how long that took; beyond limit it is an error.
func (p *play) until(ctx context.Context, f func() (bool, error)) (time.Duration, error) {
	start := time.Now()
	for {
		ok, err := f()
		elapsed := time.Since(start)
		if ok {
			return elapsed, nil
		}
		if elapsed > limit {
			return elapsed, errors.Join(err, fmt.Errorf("not within %s", limit))
		}
		select {
		case <-ctx.Done():
			return elapsed, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (p *play) rotate(ctx context.Context) error {
	p.title("6. Rotate the key")
	before, err := p.Client.Status(ctx)
	if err != nil {
		return err
	}
	if err := p.step("az keyvault key create --name "+Key+" …", "a new version of the key", func() error { return p.Operator.CreateKey(ctx) }); err != nil {
		return err
	}
	var now Status
	took, err := p.until(ctx, func() (bool, error) {
		now, err = p.Client.Status(ctx)
		return err == nil && now.KeyVersion != before.KeyVersion, err
	})
	if err != nil {
		return fmt.Errorf("the account did not take the new version: %w", err)
	}
	fmt.Fprintf(p.Out, "    the account key was wrapped again, the documents were not touched: version %s -> %s, %s after the command\n",
		before.KeyVersion, now.KeyVersion, round(took))
	if err := compareDocuments(ctx, p.container, p.docs); err != nil {
		return err
	}
	p.rows = append(p.rows, row{"key rotated", "new version in use, all documents equal", "", round(took).String()})
	return nil
}

func (p *play) summary() {
	p.title("Summary (%d documents, %s in all)", len(p.docs), time.Since(p.start).Round(time.Millisecond))
	fmt.Fprintf(p.Out, "  %-22s %-42s %-12s %s\n", "what", "outcome", "gone after", "back after")
	for _, r := range p.rows {
		fmt.Fprintf(p.Out, "  %-22s %-42s %-12s %s\n", r.What, r.Outcome, r.Gone, r.Back)
	}
}
