// Package demo plays the tutorial against a server of its own: grant, create the key, point the
// account at it, write documents, take the key away, see the data gone, give it back, see every
// byte return.
//
// Everything in it goes through real clients: az when there is one, the official Go clients
// otherwise; the documents always through azcosmos. It knows nothing of the server's inside but its
// data directory, which it searches for plaintext.
package demo
