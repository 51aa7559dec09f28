package documentdb

import (
	"context"
	"net/http"
	"strings"

	"github.com/latchkey-db/latchkey/internal/account"
	"github.com/latchkey-db/latchkey/internal/api/arm"
)

// operate serves our own operations, POST {account}/latchkey/{verb}: the service has none such. They
// answer when they are done.
func (p *Provider) operate(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	o := account.Operation{Verb: strings.ToLower(r.ID.Name())}
	if r.Method != http.MethodPost && (r.Method != http.MethodGet || o.Verb != "show") {
		return nil, methodNotAllowed(r)
	}
	if len(r.Body) > 0 {
		if err := r.Decode(&o); err != nil {
			return nil, err
		}
	}
	if o.Verb == "split" || o.Verb == "merge" {
		return p.reshape(ctx, r, o.Verb)
	}
	report, err := p.accounts.Operate(ctx, r.Caller, accountID(r), o)
	if err != nil {
		return nil, err
	}
	return arm.OK(report), nil
}
