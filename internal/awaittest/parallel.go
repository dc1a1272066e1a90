package awaittest

import (
	"flag"
	"runtime"
	"strconv"
)

// M is what of a testing.M is needed.
type M interface{ Run() int }

// beside is how many tests wait at the same time.
const beside = 8

// Beside is m for a package whose parallel tests wait for most of their time. As many as there are
// processors run at the same time elsewhere, and these leave the processors idle: they are eight at
// least, unless -parallel says how many. It is for TestMain.
func Beside(m M) M { return many{m} }

type many struct{ M }

// Run runs the tests.
func (m many) Run() int {
	if !flag.Parsed() {
		flag.Parse()
	}
	// With -fuzz it is how many workers there are.
	if flag.Lookup("test.fuzz").Value.String() == "" && !isSet("test.parallel") {
		_ = flag.Set("test.parallel", strconv.Itoa(max(beside, runtime.GOMAXPROCS(0))))
	}
	return m.M.Run()
}

// isSet reports whether a flag was given.
func isSet(name string) (set bool) {
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}
