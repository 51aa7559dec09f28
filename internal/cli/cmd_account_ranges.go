package cli

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// reshaping is what is asked of the ranges of a container.
type reshaping struct {
	Account   string `json:"-"`
	Database  string `json:"database"`
	Container string `json:"container"`
	Range     string `json:"range,omitempty"`
	At        string `json:"at,omitempty"`
}

func (q *reshaping) bind(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&q.Account, "account", "", "`name` of the account")
	f.StringVar(&q.Database, "database", "", "`name` of the database")
	f.StringVar(&q.Container, "container", "", "`name` of the container")
}

// check demands what cannot be left out.
func (q *reshaping) check(c *cobra.Command) error {
	if q.Account == "" || q.Database == "" || q.Container == "" {
		return usage(c, "--account, --database and --container are needed")
	}
	return nil
}

func (sh *shell) accountSplit() *cobra.Command {
	var q reshaping
	c := &cobra.Command{
		Use: "split --account NAME --database NAME --container NAME", Short: "Split a partition key range of a container in two", Args: noArguments,
		Long: `Split a partition key range in two, at once and without moving anything. Without --range it is the
one with the most stored, without --at it is halved. Clients find the new ranges by themselves. It is
done by itself where a range becomes too large (latchkey serve --range-mib) or throughput asks for it.`,
		RunE: func(c *cobra.Command, _ []string) error { return sh.reshape(c, q, "split") },
	}
	q.bind(c)
	c.Flags().StringVar(&q.Range, "range", "", "`id` of the range")
	c.Flags().StringVar(&q.At, "at", "", "effective partition `key`, hexadecimal, with which the second one begins")
	return c
}

func (sh *shell) accountMerge() *cobra.Command {
	var q reshaping
	c := &cobra.Command{
		Use: "merge --account NAME --database NAME --container NAME", Short: "Merge partition key ranges of a container", Args: noArguments,
		Long: `Merge a partition key range with the one behind it, at once and without moving anything. Without
--range neighbours are merged as far as the container's throughput does not need them and they are
small, as partitionMerge of Resource Manager does.`,
		RunE: func(c *cobra.Command, _ []string) error { return sh.reshape(c, q, "merge") },
	}
	q.bind(c)
	c.Flags().StringVar(&q.Range, "range", "", "`id` of the range")
	return c
}

// reshape carries out a split or a merge and prints the ranges that are there then.
func (sh *shell) reshape(c *cobra.Command, q reshaping, verb string) error {
	if err := q.check(c); err != nil {
		return err
	}
	return sh.onAccount(c.Context(), q.Account, verb, q, func(_ string, report json.RawMessage) error {
		var answer struct {
			Ranges []struct{ ID, Min, Max string }
		}
		if err := json.Unmarshal(report, &answer); err != nil {
			return err
		}
		w := tabwriter.NewWriter(sh.out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "RANGE\tFROM\tTO")
		for _, r := range answer.Ranges {
			fmt.Fprintf(w, "%s\t%s\t%s\n", r.ID, orText(r.Min, "(lowest)"), r.Max)
		}
		return w.Flush()
	})
}
