// Package resource owns what every resource has in common: the subscription, resource groups, the
// registration of providers, the list of everything, and long-running operations.
//
// Resources themselves belong to their own domains (vaults, accounts), which show them here through
// [Contents]: to be listed, and to be deleted with their group.
//
// # State
//
// The subscription, groups and registrations are records of the control store. Operations live in
// memory only: an operation is a goroutine of this process, and what it changes is made durable by
// the domain that runs it. After a restart a client that polls an old operation gets 404, and reads
// the resource, whose own state was repaired by its domain.
//
// # Deleting a group
//
// Everything in the group is deleted first, each thing by its own domain under the caller's own
// rights; then what stood at the group (role assignments); the group's record goes last, so that no
// cut leaves grants for a later group of the same name. A refusal stops the deletion and leaves the
// rest in place. While it runs the group refuses new contents; what was being made when it began is
// found by a second look.
package resource
