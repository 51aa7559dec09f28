package cli

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
)

func newDrill(sh *shell) *cobra.Command {
	c := &cobra.Command{Use: "drill", Short: "Rehearse the loss of a key", GroupID: groupUse}
	sh.cfg.BindData(c.PersistentFlags())
	var account string
	var clone bool
	revoke := &cobra.Command{
		Use:   "revoke",
		Short: "Disable an account's key, measure, enable it, compare",
		Long: `Rehearse the revocation of an account's key: take a digest of the content, disable the key in its
vault, measure the time until the data plane refuses, see that everything is refused and that the
account says why, enable the key, measure the time until the account is back, and compare the digest.
The report is printed, and recorded in the audit log. Whatever happens, the key is enabled again.

To rehearse a vault that is silent, which is another thing than a key that is revoked, see latchkey fault.

With --clone none of this touches the account: a copy of it is made under a fresh key in the same
vault, and both are removed afterwards.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if account == "" {
				return usage(c, "--account is needed")
			}
			return sh.drill(c.Context(), account, clone)
		},
	}
	revoke.Flags().StringVar(&account, "account", "", "`name` of the account")
	revoke.Flags().BoolVar(&clone, "clone", false, "rehearse on a copy of the account")
	c.AddCommand(revoke)
	return c
}

// drillReport is what a drill found.
type drillReport struct {
	Account      string    `json:"account"`
	Clone        string    `json:"clone,omitempty"`
	Key          string    `json:"key"`
	Started      time.Time `json:"started"`
	RefusedAfter float64   `json:"refusedAfterMs"` // from the vault's answer to the first refused read
	Refusals     int       `json:"refusals"`       // reads after the first refused one, all refused
	Substatus    string    `json:"substatus"`
	Status       string    `json:"customerManagedKeyStatus"`
	ServedAfter  float64   `json:"servedAfterMs"` // from the vault's answer to the first read that was served
	Before       string    `json:"contentBefore"`
	After        string    `json:"contentAfter"`
	Passed       bool      `json:"passed"`
}

// drill is one rehearsal.
type drill struct {
	m      *manager
	vault  string // token for the vault
	target resource
	key    string // the key's id, with a version
	sign   []byte // master key
	report drillReport
}

// drillPatience bounds each of the two waits.
const drillPatience = 2 * time.Minute

func (sh *shell) drill(ctx context.Context, name string, clone bool) (err error) {
	m, err := sh.manager(ctx)
	if err != nil {
		return err
	}
	d := &drill{m: m, report: drillReport{Started: time.Now().UTC()}}
	if d.target, err = m.account(ctx, name); err != nil {
		return err
	}
	d.report.Account = d.target.Name
	if d.vault, err = m.tokenFor(ctx, "https://vault.azure.net/.default"); err != nil {
		return err
	}
	original := d.target
	if clone {
		undo, err := d.makeClone(ctx)
		defer func() { err = errors.Join(err, undo()) }()
		if err != nil {
			return err
		}
	}
	if err := d.rehearse(ctx); err != nil {
		return err
	}
	if err := d.file(context.WithoutCancel(ctx), original); err != nil {
		return err
	}
	return sh.printDrill(&d.report)
}

// file puts the report into the audit log.
func (d *drill) file(ctx context.Context, original resource) error {
	raw, err := json.Marshal(d.report)
	if err != nil {
		return err
	}
	return d.m.operate(ctx, original.ID, "drilled", map[string]string{"note": string(raw)}, nil)
}

func (d *drill) overview(ctx context.Context) (o overview, err error) {
	err = d.m.operate(ctx, d.target.ID, "show", nil, &o)
	if err == nil && o.KeyURI == "" {
		err = &problem{exitFailed, "NoCustomerKey", "the account is not under a customer's key", "az cosmosdb update --key-uri …"}
	}
	return o, err
}

// makeClone makes a copy of the account under a key of its own. undo removes both, as far as they are.
func (d *drill) makeClone(ctx context.Context) (undo func() error, err error) {
	undo = func() error { return nil }
	o, err := d.overview(ctx)
	if err != nil {
		return undo, err
	}
	at, err := url.Parse(o.KeyURI)
	if err != nil {
		return undo, err
	}
	name := "drill-" + uuid.NewString()[:8]
	keyURI := "https://" + at.Host + "/keys/" + name
	if err := d.onKey(ctx, http.MethodPost, keyURI+"/create", map[string]any{"kty": "RSA", "key_size": 2048}); err != nil {
		return undo, err
	}
	group := d.target.ID[:strings.LastIndex(d.target.ID, "/")+1]
	copied := resource{ID: group + name, Name: name}
	undo = func() error {
		end := context.WithoutCancel(ctx)
		err := d.m.call(end, http.MethodDelete, copied.ID, nil, nil)
		return errors.Join(err, d.onKey(end, http.MethodDelete, keyURI, nil))
	}
	if err := d.m.operate(ctx, copied.ID, "clone", map[string]string{"from": d.target.ID, "keyUri": keyURI}, nil); err != nil {
		return undo, err
	}
	d.target, d.report.Clone = copied, name
	return undo, nil
}

// onKey calls the vault as the administrator.
func (d *drill) onKey(ctx context.Context, method, address string, body any) error {
	err := d.m.request(ctx, method, address+"?api-version=7.4", d.vault, body, nil)
	var refused *refusedError
	if errors.As(err, &refused) && refused.status == http.StatusForbidden {
		return &problem{exitFailed, "VaultRefused", "the vault refuses the administrator: " + refused.message,
			"az keyvault set-policy --name VAULT --object-id " + d.m.admin.ObjectID + " --key-permissions get create update delete"}
	}
	return err
}

func (d *drill) rehearse(ctx context.Context) (err error) {
	o, err := d.overview(ctx)
	if err != nil {
		return err
	}
	d.key = strings.TrimSuffix(o.KeyURI, "/"+o.KeyVersion) + "/" + o.KeyVersion
	d.report.Key = d.key
	if d.sign, err = d.masterKey(ctx); err != nil {
		return err
	}
	if d.report.Before, err = d.digest(ctx); err != nil {
		return err
	}
	if status, _, err := d.read(ctx); err != nil || status != http.StatusOK {
		return errors.Join(err, fmt.Errorf("the account does not serve before the drill: status %d", status))
	}
	if err := d.revoked(ctx); err != nil {
		return err
	}
	if d.report.ServedAfter, err = d.until(ctx, http.StatusOK); err != nil {
		return err
	}
	if d.report.After, err = d.digest(ctx); err != nil {
		return err
	}
	d.report.Passed = d.report.Before == d.report.After && d.report.Refusals > 0
	return nil
}

// revoked disables the key, looks at the consequences, and enables it again, whatever happens.
func (d *drill) revoked(ctx context.Context) (err error) {
	if err := d.enable(ctx, false); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.enable(context.WithoutCancel(ctx), true)) }()
	if d.report.RefusedAfter, err = d.until(ctx, http.StatusForbidden); err != nil {
		return err
	}
	for range 20 {
		status, substatus, err := d.read(ctx)
		if err != nil {
			return err
		}
		if status != http.StatusForbidden {
			return fmt.Errorf("a read was answered with %d although the key is disabled", status)
		}
		d.report.Refusals++
		d.report.Substatus = substatus
	}
	var account struct {
		Properties struct {
			Status string `json:"customerManagedKeyStatus"`
		} `json:"properties"`
	}
	err = d.m.call(ctx, http.MethodGet, d.target.ID, nil, &account)
	d.report.Status = account.Properties.Status
	return err
}

func (d *drill) enable(ctx context.Context, on bool) error {
	return d.onKey(ctx, http.MethodPatch, d.key, map[string]any{"attributes": map[string]bool{"enabled": on}})
}

func (d *drill) digest(ctx context.Context) (string, error) {
	var answer struct {
		Content string `json:"content"`
	}
	err := d.m.operate(ctx, d.target.ID, "digest", nil, &answer)
	return answer.Content, err
}

func (d *drill) masterKey(ctx context.Context) ([]byte, error) {
	var keys struct {
		Key string `json:"primaryReadonlyMasterKey"`
	}
	if err := d.m.call(ctx, http.MethodPost, d.target.ID+"/listKeys", nil, &keys); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(keys.Key)
}

// read lists the account's databases on its data plane.
func (d *drill) read(ctx context.Context) (status int, substatus string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+d.target.Name+".documents.azure.com/dbs", nil)
	if err != nil {
		return 0, "", err
	}
	date := strings.ToLower(time.Now().UTC().Format(http.TimeFormat))
	h := hmac.New(sha256.New, d.sign)
	fmt.Fprintf(h, "get\ndbs\n\n%s\n\n", date)
	req.Header.Set("x-ms-date", date)
	req.Header.Set("x-ms-version", "2020-07-15")
	req.Header.Set("Authorization", url.QueryEscape("type=master&ver=1.0&sig="+base64.StdEncoding.EncodeToString(h.Sum(nil))))
	resp, err := d.m.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("x-ms-substatus"), nil
}

// until reads until the status comes and returns after how many milliseconds it did.
func (d *drill) until(ctx context.Context, want int) (float64, error) {
	begin := time.Now()
	for {
		status, _, err := d.read(ctx)
		switch {
		case err != nil:
			return 0, err
		case status == want:
			return float64(time.Since(begin).Microseconds()) / 1000, nil
		case time.Since(begin) > drillPatience:
			return 0, fmt.Errorf("reads are answered with %d after %v, not with %d", status, drillPatience, want)
		}
	}
}

func (sh *shell) printDrill(r *drillReport) error {
	if sh.output == outputJSON {
		if err := sh.printJSON(r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(sh.out, `Drill of %s, %s
  account             %s
  key                 %s
  first refusal       %.1f ms after the key was disabled; then %d of %d reads were refused, sub-status %s
  the account said    %s
  back                %.1f ms after the key was enabled
  content             %s before
                      %s after
  passed              %v
`, r.Account, r.Started.Format(time.RFC3339), orText(r.Clone, r.Account), r.Key, r.RefusedAfter, r.Refusals, r.Refusals, r.Substatus,
			r.Status, r.ServedAfter, r.Before, r.After, r.Passed)
	}
	if !r.Passed {
		return &problem{exitFailed, "DrillFailed", "the drill did not pass", ""}
	}
	return nil
}
