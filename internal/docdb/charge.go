package docdb

import "math"

// The cost of operations in request units, close to the service's published figures (docs/REQUEST-UNITS.md):
// a read of 1 KiB costs 1 and of 100 KiB 10; a write of 1 KiB costs 5 and of 100 KiB 50 before its indexing.
// The same request on the same data has the same cost.
const (
	readBase, readKiB   = 1.0, 9.0 / 99
	writeBase, writeKiB = 5.0, 45.0 / 99
	indexBase, indexKiB = 1.29, 0.4
	// Queries and feeds: a base, then what was read and what was given.
	queryBase, queryDocument, queryKiB, resultKiB = 2.3, 0.03, 0.05, 0.09
)

// kibibytes is a size in KiB beyond the first.
func kibibytes(size int) float64 { return max(0, float64(size)/1024-1) }

// readCharge is the cost of reading one document by its id and partition key.
func readCharge(size int) float64 { return rounded(readBase + readKiB*kibibytes(size)) }

// writeCharge is the cost of writing, or removing, one document.
func writeCharge(size int, indexed bool) float64 {
	cost := writeBase + writeKiB*kibibytes(size)
	if indexed {
		cost += indexBase + indexKiB*kibibytes(size)
	}
	return rounded(cost)
}

// pageCharge is the cost of a page: documents and bytes that were read, and bytes that were given.
func pageCharge(documents, read, given int) float64 {
	return rounded(queryBase + queryDocument*float64(documents) + queryKiB*float64(read)/1024 + resultKiB*float64(given)/1024)
}

func rounded(charge float64) float64 { return math.Round(charge*100) / 100 }
