package cli

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// inquiry is a query from the shell.
type inquiry struct {
	account, database, container string
	text                         string
	params                       []string
	partitionKey                 string
	most                         int
	explain                      bool
}

func newQuery(sh *shell) *cobra.Command {
	var q inquiry
	c := &cobra.Command{
		Use:     "query 'SELECT …'",
		Short:   "Run a query over the documents of a container",
		GroupID: groupUse,
		Long: `Run a query against the server that runs on the data directory, with the account's read-only key.

  latchkey query --account NAME --database db1 --container c1 'SELECT c.id, c.city FROM c WHERE c.age > @age' --param age=30
  latchkey query … --explain 'SELECT * FROM c ORDER BY c.age OFFSET 0 LIMIT 10'

Results are a table, or with --output json one result a line. --explain shows instead how the query is run: its
steps from the last to the first, the documents that the index expects and those that were read, the indexes
that serve it or would, and its charge in request units. The value of a parameter is JSON; what is not JSON is a string.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(c, "exactly one query is needed, in quotes")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if q.account == "" || q.database == "" || q.container == "" {
				return usage(c, "--account, --database and --container are needed")
			}
			q.text = args[0]
			return sh.query(c.Context(), q)
		},
	}
	sh.cfg.BindData(c.Flags())
	c.Flags().StringVar(&q.account, "account", "", "`name` of the account")
	c.Flags().StringVar(&q.database, "database", "", "`name` of the database")
	c.Flags().StringVar(&q.container, "container", "", "`name` of the container")
	c.Flags().StringArrayVar(&q.params, "param", nil, "`name=value` of a parameter; may be given several times")
	c.Flags().StringVar(&q.partitionKey, "partition-key", "", "`JSON` value of one logical partition, or an array of them for several paths")
	c.Flags().IntVar(&q.most, "max", 1000, "`number` of results to show at most; 0 for all")
	c.Flags().BoolVar(&q.explain, "explain", false, "show how the query is run")
	return c
}

// body is what the query sends.
func (q inquiry) body() ([]byte, error) {
	type parameter struct {
		Name  string          `json:"name"`
		Value json.RawMessage `json:"value"`
	}
	params := []parameter{}
	for _, p := range q.params {
		name, value, ok := strings.Cut(p, "=")
		if !ok {
			return nil, &problem{exitUsage, "Usage", fmt.Sprintf("--param %s has no value", p), "--param name=value"}
		}
		params = append(params, parameter{"@" + strings.TrimPrefix(name, "@"), jsonOrText(value)})
	}
	return json.Marshal(map[string]any{"query": q.text, "parameters": params})
}

// jsonOrText is a value as JSON; what is not JSON is a string.
func jsonOrText(value string) json.RawMessage {
	if json.Valid([]byte(value)) {
		return json.RawMessage(value)
	}
	quoted, _ := json.Marshal(value) // a string can always be written
	return quoted
}

// documentsClient reads the documents of one account with its read-only key.
type documentsClient struct {
	http    *http.Client
	account string
	key     []byte
}

func (sh *shell) documents(ctx context.Context, account string) (*documentsClient, error) {
	m, err := sh.manager(ctx)
	if err != nil {
		return nil, err
	}
	target, err := m.account(ctx, account)
	if err != nil {
		return nil, err
	}
	var keys struct {
		Key string `json:"primaryReadonlyMasterKey"`
	}
	if err := m.call(ctx, http.MethodPost, target.ID+"/listKeys", nil, &keys); err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(keys.Key)
	return &documentsClient{m.http, target.Name, key}, err
}

// post sends a request to a feed of documents.
func (d *documentsClient) post(ctx context.Context, container string, body []byte, header map[string]string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+d.account+".documents.azure.com/"+escapedPath(container)+"/docs", bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	date := strings.ToLower(time.Now().UTC().Format(http.TimeFormat))
	h := hmac.New(sha256.New, d.key)
	fmt.Fprintf(h, "post\ndocs\n%s\n%s\n\n", container, date)
	for name, value := range header {
		req.Header.Set(name, value)
	}
	req.Header.Set("x-ms-date", date)
	req.Header.Set("x-ms-version", "2020-07-15")
	req.Header.Set("Authorization", url.QueryEscape("type=master&ver=1.0&sig="+base64.StdEncoding.EncodeToString(h.Sum(nil))))
	resp, err := d.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp, raw, err
}

func escapedPath(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

func (sh *shell) query(ctx context.Context, q inquiry) error {
	d, err := sh.documents(ctx, q.account)
	if err != nil {
		return err
	}
	body, err := q.body()
	if err != nil {
		return err
	}
	header := map[string]string{"Content-Type": "application/query+json", "x-ms-documentdb-isquery": "True", "x-ms-documentdb-query-enablecrosspartition": "True",
		"x-ms-max-item-count": "-1"}
	if q.explain {
		header["x-latchkey-explain"] = "True"
	}
	if q.partitionKey != "" {
		key := jsonOrText(q.partitionKey)
		if key[0] != '[' {
			key = slices.Concat([]byte("["), key, []byte("]"))
		}
		header["x-ms-documentdb-partitionkey"] = string(key)
	}
	var results []json.RawMessage
	for {
		resp, raw, err := d.post(ctx, "dbs/"+q.database+"/colls/"+q.container, body, header)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return refusedQuery(q.text, resp, raw)
		}
		if q.explain {
			return sh.printExplanation(resp.Header)
		}
		var page struct{ Documents []json.RawMessage }
		if err := json.Unmarshal(raw, &page); err != nil {
			return err
		}
		results = append(results, page.Documents...)
		next := resp.Header.Get("x-ms-continuation")
		if q.most > 0 && len(results) >= q.most {
			fmt.Fprintf(sh.err, "The first %d results are shown; --max 0 shows all.\n", q.most)
			results = results[:q.most]
			break
		}
		if next == "" {
			break
		}
		header["x-ms-continuation"] = next
	}
	if sh.output == outputJSON {
		for _, r := range results {
			fmt.Fprintf(sh.out, "%s\n", r)
		}
		return nil
	}
	return sh.printTable(results)
}

// refusedQuery shows where a query is wrong.
func refusedQuery(text string, resp *http.Response, raw []byte) error {
	var answer struct{ Code, Message string }
	_ = json.Unmarshal(raw, &answer) // without a message the status is told
	message, _, _ := strings.Cut(strings.TrimPrefix(answer.Message, "Message: "), "\r\nActivityId")
	var errs struct {
		Errors []struct {
			Message  string
			Code     any
			Location *struct{ Start, End int }
		}
	}
	var plain struct{ Errors []string }
	switch {
	case json.Unmarshal([]byte(message), &plain) == nil && len(plain.Errors) > 0:
		message = strings.Join(plain.Errors, "; ")
	case json.Unmarshal([]byte(message), &errs) == nil && len(errs.Errors) > 0:
		e := errs.Errors[0]
		message = e.Message
		if e.Code != nil {
			message = fmt.Sprintf("%v: %s", e.Code, message)
		}
		if e.Location != nil && !strings.Contains(text, "\n") {
			message += "\n  " + text + "\n  " + strings.Repeat(" ", e.Location.Start) + strings.Repeat("^", max(1, e.Location.End-e.Location.Start))
		}
	case message == "":
		message = "the server answered with " + resp.Status
	}
	code := exitFailed
	if sub := resp.Header.Get("x-ms-substatus"); resp.StatusCode == http.StatusForbidden && strings.HasPrefix(sub, "40") {
		code = exitKeyDenied
	}
	return &problem{code, "QueryRefused", message, ""}
}

// printTable prints results as a table: objects by their members, other values in one column.
func (sh *shell) printTable(results []json.RawMessage) error {
	var columns []string
	rows := make([]map[string]string, len(results))
	for i, r := range results {
		names, cells := cellsOf(r)
		for _, n := range names {
			if !slices.Contains(columns, n) {
				columns = append(columns, n)
			}
		}
		rows[i] = cells
	}
	columns = slices.DeleteFunc(columns, func(n string) bool {
		return slices.Contains([]string{"_rid", "_self", "_etag", "_attachments", "_ts"}, n) && len(columns) > 5
	})
	w := tabwriter.NewWriter(sh.out, 2, 4, 2, ' ', 0)
	if len(columns) > 0 {
		fmt.Fprintln(w, strings.Join(columns, "\t"))
	}
	for _, row := range rows {
		cells := make([]string, len(columns))
		for i, n := range columns {
			cells[i] = row[n]
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(sh.err, "%d results\n", len(results))
	return nil
}

// cellsOf takes a result apart; its members keep their order.
func cellsOf(result json.RawMessage) (names []string, cells map[string]string) {
	dec := json.NewDecoder(bytes.NewReader(result))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return []string{"value"}, map[string]string{"value": cell(result)}
	}
	cells = map[string]string{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			break
		}
		var v json.RawMessage
		if dec.Decode(&v) != nil {
			break
		}
		n := fmt.Sprint(name)
		names, cells[n] = append(names, n), cell(v)
	}
	return names, cells
}

// cell writes a value on one line: strings without quotes, control characters as JSON has them.
func cell(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) != nil {
		return string(v)
	}
	if quoted := strconv.Quote(s); len(quoted) != len(s)+2 {
		return string(v)
	}
	return s
}

// printExplanation prints how a query was run.
func (sh *shell) printExplanation(h http.Header) error {
	text, err := url.PathUnescape(h.Get("x-latchkey-explain"))
	if err != nil || text == "" {
		return errors.Join(errors.New("the server does not explain this query"), err)
	}
	if sh.output == outputJSON {
		fmt.Fprintln(sh.out, text)
		return nil
	}
	var e struct {
		Steps     []string
		Estimated int
		AtLeast   bool
		Read      int `json:"documentsRead"`
		Results   int
		Indexes   struct {
			Single, PotentialSingle       []string
			Composite, PotentialComposite [][]string
		}
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return err
	}
	for i, s := range e.Steps {
		fmt.Fprintf(sh.out, "%s%s\n", strings.Repeat("  ", i), s)
	}
	estimated := map[bool]string{true: "over "}[e.AtLeast] + strconv.Itoa(e.Estimated)
	if e.Estimated < 0 {
		estimated = "not known"
	}
	fmt.Fprintf(sh.out, "\nrows           estimated %s, documents read %d, results on this page %d\n", estimated, e.Read, e.Results)
	list := func(title string, single []string, composite [][]string) {
		for _, c := range composite {
			single = append(single, "("+strings.Join(c, ", ")+")")
		}
		if len(single) > 0 {
			fmt.Fprintf(sh.out, "%-14s %s\n", title, strings.Join(single, ", "))
		}
	}
	list("indexes", e.Indexes.Single, e.Indexes.Composite)
	list("would help", e.Indexes.PotentialSingle, e.Indexes.PotentialComposite)
	fmt.Fprintf(sh.out, "charge         %s RU\n", h.Get("x-ms-request-charge"))
	return nil
}
