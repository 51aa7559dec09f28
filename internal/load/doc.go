// Package load measures a database that speaks the data plane of Cosmos DB over HTTPS, whoever serves it: the
// mixes of the Yahoo! Cloud Serving Benchmark and plain reads and writes, by the account's key.
//
// # Honesty
//
// Every answer is checked. A document carries its id, a version that only grows, and a checksum; a read
// must give the document that was asked for, whole, and not older than what was acknowledged before the read
// began. Answers that fail this are wrong answers, which are told apart from errors and make a run worthless.
// Refusals for lack of throughput (429) are waited for as the server asks and counted apart. Each client
// sends its next request when it has the answer to the last one: latencies are those of the requests
// that were sent, and say nothing about requests that would have come in the meantime.
//
// The package is a client and knows nothing of the server's inside.
package load
