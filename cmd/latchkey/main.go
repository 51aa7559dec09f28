// Command latchkey is the whole product in one binary: the server and the verbs that talk to it.
package main

func main() {}
