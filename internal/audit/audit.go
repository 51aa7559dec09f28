// Package audit is the append-only, hash-chained record of every use of a key and of every decision.
package audit
