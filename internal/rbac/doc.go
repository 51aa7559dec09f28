// Package rbac decides who may do what on the management side of the server, and on the data side
// of vaults in RBAC mode: role definitions, role assignments, and the evaluation of both.
//
// # Rule
//
// A caller may do an action on a scope when some assignment to it, or to a group that it is in,
// stands at that scope or above it, and the assigned role has a permission block in which an action
// pattern matches and no notAction pattern of the same block does. NotActions subtract from their own role;
// they never deny what another role grants. Control-plane actions are matched against
// actions/notActions, data-plane ones against dataActions/notDataActions; "*" in one list says
// nothing about the other. Patterns match without regard to case, "*" matches any run of characters,
// slashes included.
//
// # Managing
//
// A role is assigned only where its definition says that it is assignable, and a definition is
// changed or removed only by who may do so at every scope where it is assignable, before the change
// as well as after it: otherwise a right over one group would rewrite what a role grants elsewhere.
// Conditions on assignments are not evaluated; a grant that asks for one is refused by the face, never
// made without it. The one built-in role that the service limits by a condition is limited here by
// [Definition.Delegable].
//
// # State
//
// Assignments and custom definitions are records of the control store. A decision reads an
// immutable snapshot behind an atomic pointer and takes no lock; a change writes the store first and
// publishes the next snapshot second. A change is in force at once: there is no propagation time.
//
// # Audit
//
// Authorize leaves no record: the domain that asks does, because it knows what follows. The
// management of assignments and definitions is this package's own domain and is recorded here.
package rbac
