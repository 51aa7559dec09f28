// Package sql is the query language of the document database: text to tree, tree to plan, plan over
// rows to results. It knows no database: it reads rows through [Source], so it is tested alone.
//
// # Stages
//
//	text --lexer--> tokens --parser--> Query (ast.go) --Compile--> Plan --Run--> results
//
// Compile checks what can be known without data (names, arguments, where aggregates stand). Run
// binds parameters and pulls rows; a plan that neither sorts nor groups streams them ([Plan.Streaming]).
// There is one access path today, the scan; a planner will choose others by giving Run another Source.
//
// # Values
//
// A value is undefined, null, a boolean, a number (IEEE double; integers that fit are printed
// exactly), a string, an array or an object whose members keep their order. Undefined is what a
// missing property, a wrong operand and a wrong argument are; it is never stored and never returned.
// Logic is three-valued: a condition that is not exactly true keeps no row.
//
// The order of types, for ORDER BY: undefined < null < false < true < number < string < array < object.
//
// # Limits
//
// The length of a text, the nesting of a query and of a document, the steps of a run and the bytes
// that a run may hold are bounded; beyond them the answer is an error of the query, never a panic. A run
// ends when its context does.
//
// Facts about the language come from the service's documentation and from recorded answers; where
// they disagree, docs/COMPAT.md says which was followed.
package sql
