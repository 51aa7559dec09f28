package docdb

import (
	"context"
	"encoding/json"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Query is the text of a query and the values of its parameters by name, "@" included.
type Query struct {
	Text       string
	Parameters map[string]json.RawMessage
}

// ReasonSyntax marks a query that cannot be compiled or evaluated. The message is the service's
// object {"errors":[{"severity","location","code","message"}]} as JSON text.
const ReasonSyntax = "QuerySyntax"

func noQueries() error {
	return fault.New(fault.NotImplemented, "NotImplemented", "This server does not run queries yet.")
}

// CheckQuery reports what is wrong with the text of a query, if anything.
func CheckQuery(string) error { return noQueries() }

// Query returns a page of the results of a query over the documents of a container.
func (s *Service) Query(ctx context.Context, c principal.Caller, q FeedRequest, _ Query) (Page, error) {
	_, _, end, err := s.begin(ctx, c, actionQuery, q.Path, q.Consistency)
	if err != nil {
		return Page{}, err
	}
	defer end()
	return Page{}, noQueries()
}

// Select runs a query over resources that are not documents, such as databases and offers.
func Select(context.Context, Query, [][]byte) ([][]byte, error) { return nil, noQueries() }

// patchCondition decides whether the condition of a patch holds for a document.
func patchCondition(_ context.Context, condition string, _ []byte) error {
	if condition == "" {
		return nil
	}
	return noQueries()
}
