// Package index turns documents into the terms by which a container's index finds them. It knows no
// store and no query: it says which bytes stand for a value, for a path and for the shape of a document,
// and which paths an indexing policy wants. Package docdb keeps the terms in keys of the store, in the
// same commit as the document, and reads them again for queries.
//
// # Terms
//
// A term is a path and a value: path (8 bytes) | value. The path of an array's elements is that of the array
// with an [Element] step behind it, whichever element it is, so a document has one term for each path
// with each of its different values. Only scalars have terms. A path is identified by a keyed hash
// ([Index.PathID]) under a secret of the account, so that nobody can make documents whose paths collide.
//
// Values (see value.go) sort as the query language sorts them and none is a prefix of another. Long strings are
// cut: such a term is inexact, and whoever finds it must look at the document.
//
// # Shapes
//
// A term can say that a document has a value, but not that it has none, and not that the value is an
// array or an object. So each document also has a shape: the identities of all its indexed paths with
// their kinds. Documents that an application makes have few different shapes; the documents that lack a
// path are those of the shapes that lack it.
//
// # Bounds
//
// A document with more than [MaxTerms] terms has none: its shape is [Overflow], and every use of the index
// adds the documents of that shape to what it found. There are at most [MaxShapes] shapes; a document with
// another one has the shape [Other], which may have or lack any path. Both stay correct, only slower.
package index
