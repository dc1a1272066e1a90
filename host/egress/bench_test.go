package egress

import (
	"fmt"
	"net/netip"
	"testing"
)

// full is as long a list as a configuration file may have.
func full(b *testing.B) *Policy {
	var list []string
	for i := range 64 {
		list = append(list, fmt.Sprintf("h%d.example.com:443", i), fmt.Sprintf("*.z%d.example.com:443", i), fmt.Sprintf("10.%d.0.0/16:443", i), fmt.Sprintf("unix:///run/%d/*", i))
	}
	return policy(b, list...)
}

func BenchmarkCheck(b *testing.B) {
	p := full(b)
	for _, s := range []string{"tcp://h63.example.com:443", "tcp://a.b.z63.example.com:443", "tcp://10.63.0.1:443", "unix:///run/63/x"} {
		t := target(b, s)
		b.Run(t.Network()+"/"+t.Host()+t.Path(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if p.Check(t) != nil {
					b.Fatal("denied")
				}
			}
		})
	}
}

func BenchmarkParseTarget(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseTarget("tls://api.eu-west.Example.com:443"); err != nil {
			b.Fatal(err)
		}
	}
}

// With the question which addresses are this machine's, which the kernel answers.
func BenchmarkResolve(b *testing.B) {
	p, r, t := full(b), answer("93.184.216.34", "2606:4700::1111", "93.184.216.35"), target(b, "tcp://h1.example.com:443")
	for b.Loop() {
		if _, err := p.Resolve(b.Context(), r, t); err != nil {
			b.Fatal(err)
		}
		r.asked = nil
	}
}

func BenchmarkBlockOf(b *testing.B) {
	a := netip.MustParseAddr("2606:4700::1111")
	for b.Loop() {
		if _, ok := blockOf(a); ok {
			b.Fatal("special")
		}
	}
}
