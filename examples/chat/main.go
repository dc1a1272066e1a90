// Command chat is a chat server for nc and telnet: lines in, lines out. The
// first line a client sends is its name; what follows goes to everyone else in
// its room.
//
// All members have to be in one instance to hear each other, so the listener
// needs instance = "listener".
package main

import "bulkhead/sdk/go"

func init() { guest.Register(newHall()) }

// main is not run in a guest; see init.
func main() {}
