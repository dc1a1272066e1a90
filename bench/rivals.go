package main

import "fmt"

// packages are the programs of others that the system may have, rivals and load generators, and
// what Debian calls the package of each.
var packages = map[string]string{
	"haproxy":         "haproxy",
	"redis-server":    "redis-server",
	"redis-benchmark": "redis-tools",
	"nginx":           "nginx-light",
	"wrk":             "wrk",
}

// absent says that a program is not there, and who has it.
func absent(program string) string {
	return fmt.Sprintf("there is no %s (Debian: apt-get install %s)", program, packages[program])
}

// rival is a server of others, which is left out where the system does not have it.
func rival(name, program string, arguments func(place) ([]string, error)) server {
	return server{name: name, program: program, installed: true, absent: absent(program), arguments: arguments}
}
