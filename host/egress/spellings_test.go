package egress

import (
	"net/netip"
	"testing"

	"bulkhead/internal/egresstest"
)

// However an address of this machine, its network or its cloud is spelt, it is dialled
// only when it is listed by itself: not by way of networks that are wider, or of names.
func TestSpellings(t *testing.T) {
	p := policy(t, "*.example:*", "*.com:*", "0.0.0.0/0:*", "[::/0]:*", "[2000::/3]:*", "[64:ff9b::/96]:*", "[2002::/16]:*")
	var all []string
	for _, addr := range []string{"127.0.0.1", "127.0.0.2", "127.255.255.254", "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "0.0.0.1"} {
		all = append(all, egresstest.Spellings(netip.MustParseAddr(addr))...)
	}
	all = append(append(all, egresstest.Loopback6()...), egresstest.Metadata6()...)
	refused := make(map[Kind]int)
	for _, host := range all {
		for _, scheme := range []string{"tcp://", "tls://"} {
			got, err := ParseTarget(scheme + host + ":80")
			if err == nil {
				err = p.Check(got)
			}
			if kind := KindOf(err); kind != Invalid && kind != Denied {
				t.Errorf("%q is taken for %v, %v", host, got, err)
			}
			checkText(t, err)
			refused[KindOf(err)]++
		}
	}
	if refused[Denied] < 400 || refused[Invalid] < 1000 {
		t.Errorf("of %d spellings: %v", 2*len(all), refused)
	}
}
