// Package sql is the query language of the document database: text to tree, tree to plan, plan over
// rows to results. It knows no database: it reads rows through [Source], so it is tested alone.
//
// # Stages
//
//	text --lexer--> tokens --parser--> Query --Compile--> Plan --Run--> results
//
// [Parse] knows the grammar only; [Query.String] writes a query back in a normal form that parses to
// the same tree. [Compile] resolves names to slots, checks what can be known without data and turns
// every expression into a function of a run; a [Plan] is immutable and may run many times at once.
// [Plan.Run] binds the parameters and pushes rows through steps: each FROM source is a step that
// feeds the next, the last one is the projection. Only the first step reads the container. Today it
// scans; a planner replaces that one step and nothing else.
//
// # Values
//
// A value is undefined, null, a boolean, a number (an IEEE double, or a 64-bit integer that is kept
// exact), a string, an array or an object whose members keep their order. Undefined is what a missing
// property, a wrong operand and a wrong argument are; it is never stored and never returned. Logic
// is three-valued: a condition that is not exactly true keeps no row. Documents are read lazily, one
// level at a time; one that is returned whole is returned as the bytes it was stored as.
//
// The order of types: undefined < null < false < true < number < string < array < object.
//
// # Limits
//
// The length of a text, its nesting, the steps of a run, the size of one value and the bytes that a
// run keeps are bounded; beyond them the answer is an error, never a panic. Sizes are counted before
// memory is taken, and as if nothing were shared, so that no short text can build a huge value. Every
// run looks at its context as it goes and ends with it.
//
// # Sources
//
// Facts about the language come from the service's documentation and from recorded answers. Where
// these disagree or are silent, the comment at the place says what was chosen.
package sql
