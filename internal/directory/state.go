package directory

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/store"
)

// tenantRecord is the tenant with the keys that it signs with.
type tenantRecord struct {
	ID             string    `json:"id"`
	DisplayName    string    `json:"displayName"`
	DefaultDomain  string    `json:"defaultDomain"`
	Created        time.Time `json:"created"`
	SigningKey     []byte    `json:"signingKey"`  // PKCS #8
	Certificate    []byte    `json:"certificate"` // DER, self-signed, for x5c and x5t
	RefreshKey     []byte    `json:"refreshKey"`  // HS256 key of the refresh tokens
	FirstParty     string    `json:"firstParty"`  // object id
	Administrator  string    `json:"administrator,omitempty"`
	Administrators []string  `json:"administrators,omitempty"` // Global Administrators, by object id
}

// platformRecord is a credential that only the server itself uses.
type platformRecord struct {
	Secret []byte `json:"secret"`
}

// state is the whole directory at one moment. It is never modified after it is published.
type state struct {
	tenant     *tenantRecord
	apps       map[string]*Application
	principals map[string]*ServicePrincipal
	users      map[string]*User
	groups     map[string]*Group
	platform   map[string]*platformRecord

	// Derived by index.
	appOf       map[string]*Application      // by client id
	principalOf map[string]*ServicePrincipal // by service principal name, in lower case
	userOf      map[string]*User             // by user principal name, in lower case
	memberOf    map[string][]string          // groups of an object, transitively, sorted
}

// index derives the look-up maps.
func (s *state) index() {
	s.appOf, s.principalOf = map[string]*Application{}, map[string]*ServicePrincipal{}
	s.userOf, s.memberOf = map[string]*User{}, map[string][]string{}
	for _, a := range s.apps {
		s.appOf[a.AppID] = a
	}
	for _, p := range s.principals {
		for _, n := range p.Names {
			s.principalOf[strings.ToLower(n)] = p
		}
	}
	for _, u := range s.users {
		s.userOf[strings.ToLower(u.Name)] = u
	}
	for _, g := range s.groups {
		s.spread(g, g.ID, map[string]bool{})
	}
	for _, ids := range s.memberOf {
		slices.Sort(ids)
	}
}

// spread notes group as one of the groups of every member below g. seen breaks cycles.
func (s *state) spread(g *Group, group string, seen map[string]bool) {
	for _, id := range g.Members {
		if seen[id] || id == group {
			continue
		}
		seen[id] = true
		s.memberOf[id] = append(s.memberOf[id], group)
		if child := s.groups[id]; child != nil {
			s.spread(child, group, seen)
		}
	}
}

// exists reports whether there is an object with the id.
func (s *state) exists(id string) bool {
	return s.apps[id] != nil || s.principals[id] != nil || s.users[id] != nil || s.groups[id] != nil
}

// owners returns the owners of an object. An application's owners also own its service principal.
func (s *state) owners(id string) []string {
	switch {
	case s.apps[id] != nil:
		return s.apps[id].Owners
	case s.groups[id] != nil:
		return s.groups[id].Owners
	case s.principals[id] == nil:
		return nil
	}
	p := s.principals[id]
	if a := s.appOf[p.AppID]; a != nil {
		return append(slices.Clone(p.Owners), a.Owners...)
	}
	return p.Owners
}

func (s *state) clone() *state {
	c := &state{
		apps: maps.Clone(s.apps), principals: maps.Clone(s.principals), users: maps.Clone(s.users),
		groups: maps.Clone(s.groups), platform: maps.Clone(s.platform),
	}
	if s.tenant != nil {
		t := *s.tenant
		c.tenant = &t
	}
	return c
}

// tables are the records of the directory in the control store.
type tables struct {
	db         *store.Store
	tenant     *store.Table[tenantRecord]
	apps       *store.Table[Application]
	principals *store.Table[ServicePrincipal]
	users      *store.Table[User]
	groups     *store.Table[Group]
	platform   *store.Table[platformRecord]
}

const tenantKey = "tenant"

func openTables(db *store.Store) tables {
	return tables{
		db:         db,
		tenant:     store.NewTable[tenantRecord](db, "directory/tenant"),
		apps:       store.NewTable[Application](db, "directory/applications"),
		principals: store.NewTable[ServicePrincipal](db, "directory/servicePrincipals"),
		users:      store.NewTable[User](db, "directory/users"),
		groups:     store.NewTable[Group](db, "directory/groups"),
		platform:   store.NewTable[platformRecord](db, "directory/platform"),
	}
}

// load reads everything.
func (t tables) load() (*state, error) {
	s := &state{}
	rec, ok, err := t.tenant.Get(tenantKey)
	if err != nil {
		return nil, err
	}
	if ok {
		s.tenant = &rec
	}
	if s.apps, err = loadTable(t.apps); err != nil {
		return nil, err
	}
	if s.principals, err = loadTable(t.principals); err != nil {
		return nil, err
	}
	if s.users, err = loadTable(t.users); err != nil {
		return nil, err
	}
	if s.groups, err = loadTable(t.groups); err != nil {
		return nil, err
	}
	if s.platform, err = loadTable(t.platform); err != nil {
		return nil, err
	}
	s.index()
	return s, nil
}

func loadTable[T any](t *store.Table[T]) (map[string]*T, error) {
	all, err := t.All()
	if err != nil {
		return nil, err
	}
	out := make(map[string]*T, len(all))
	for id, rec := range all {
		out[id] = &rec
	}
	return out, nil
}

// change is a change of the directory that is being made.
type change struct {
	tables tables
	next   *state
	batch  *store.Batch
	told   []string // ids for OnChange
	err    error    // first failure to encode a record
}

// change runs edit on a copy of the state and, when edit succeeds, makes the copy durable and then
// visible. When anything fails the directory is as before.
func (d *Directory) change(edit func(*change) error) error {
	told, err := d.apply(edit)
	for _, id := range told {
		d.cfg.OnChange(id)
	}
	return err
}

func (d *Directory) apply(edit func(*change) error) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &change{tables: d.tables, next: d.now().clone(), batch: d.tables.db.NewBatch()}
	c.next.index()
	err := edit(c)
	if err == nil {
		err = c.err
	}
	if err != nil {
		c.batch.Discard()
		return nil, err
	}
	if err := d.tables.db.Commit(c.batch); err != nil {
		return nil, err
	}
	c.next.index()
	d.state.Store(c.next)
	return c.told, nil
}

func (c *change) keep(err error) {
	if c.err == nil {
		c.err = err
	}
}

func put[T any](c *change, t *store.Table[T], m map[string]*T, id string, rec *T) {
	m[id] = rec
	c.keep(t.PutIn(c.batch, id, *rec))
}

func (c *change) putTenant(t *tenantRecord) {
	c.next.tenant = t
	c.keep(c.tables.tenant.PutIn(c.batch, tenantKey, *t))
}

func (c *change) putApp(a *Application) { put(c, c.tables.apps, c.next.apps, a.ID, a) }

func (c *change) putPrincipal(p *ServicePrincipal) {
	put(c, c.tables.principals, c.next.principals, p.ID, p)
	c.told = append(c.told, p.ID)
}

func (c *change) putUser(u *User) {
	put(c, c.tables.users, c.next.users, u.ID, u)
	c.told = append(c.told, u.ID)
}

func (c *change) putGroup(g *Group) {
	put(c, c.tables.groups, c.next.groups, g.ID, g)
	c.told = append(c.told, g.ID)
}

func (c *change) putPlatform(id string, rec *platformRecord) {
	put(c, c.tables.platform, c.next.platform, id, rec)
}

// remove deletes the object and every reference to it.
func (c *change) remove(id string) {
	delete(c.next.apps, id)
	delete(c.next.principals, id)
	delete(c.next.users, id)
	delete(c.next.groups, id)
	delete(c.next.platform, id)
	c.tables.apps.DeleteIn(c.batch, id)
	c.tables.principals.DeleteIn(c.batch, id)
	c.tables.users.DeleteIn(c.batch, id)
	c.tables.groups.DeleteIn(c.batch, id)
	c.tables.platform.DeleteIn(c.batch, id)
	c.told = append(c.told, id)
	c.forget(id)
}

// forget removes the references to an object that is gone.
func (c *change) forget(id string) {
	for _, g := range c.next.groups {
		if slices.Contains(g.Members, id) || slices.Contains(g.Owners, id) {
			n := *g
			n.Members, n.Owners = without(g.Members, id), without(g.Owners, id)
			c.putGroup(&n)
		}
	}
	for _, a := range c.next.apps {
		if slices.Contains(a.Owners, id) {
			n := *a
			n.Owners = without(a.Owners, id)
			c.putApp(&n)
		}
	}
	for _, p := range c.next.principals {
		if slices.Contains(p.Owners, id) {
			n := *p
			n.Owners = without(p.Owners, id)
			c.putPrincipal(&n)
		}
	}
	if t := c.next.tenant; slices.Contains(t.Administrators, id) {
		n := *t
		n.Administrators = without(t.Administrators, id)
		c.putTenant(&n)
	}
}

func without(list []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(x string) bool { return x == id })
}
