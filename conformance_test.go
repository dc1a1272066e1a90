package bulkhead_test

import (
	"os"
	"testing"

	"bulkhead/abi/conformance"
)

// Every sentence of abi/ABI.md that binds a host or a guest has a case of the conformance kit, and
// docs/CONFORMANCE.md has them all. The test is here, since whoever changes ABI.md runs this one.
func TestTheContractHasCases(t *testing.T) {
	for _, err := range conformance.Check(os.DirFS(".")) {
		t.Error(err)
	}
	if _, fresh, err := conformance.CheckPage(os.DirFS(".")); err != nil {
		t.Error(err)
	} else if !fresh {
		t.Error("docs/CONFORMANCE.md has not the cases as they are; go test ./abi/conformance -run Page -update writes them")
	}
}
