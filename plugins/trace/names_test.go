package trace

import (
	"strings"
	"testing"
)

// Names of compilers are said as authors wrote them; those that are not known stay.
func TestName(t *testing.T) {
	for symbol, want := range map[string]string{
		"csa_data":                "csa_data",
		"main.handler.Data":       "main.handler.Data",
		"_ZN4shop4Shop4sellEPKci": "shop::Shop::sell",
		"_ZNK4shop4Shop4sellEv":   "shop::Shop::sell",
		"_Z5routePKci":            "route",
		"_ZN5ShelfIiE2atEi":       "_ZN5ShelfIiE2atEi",
		"_ZN4core9panicking9panic_fmt17h9ec1c8305a7da9aeE":                                         "core::panicking::panic_fmt",
		"_ZN3std9panicking19begin_panic_handler28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE": "std::panicking::begin_panic_handler::{{closure}}",
		"_ZN52_$LT$shop..Till$u20$as$u20$core..ops..drop..Drop$GT$4drop17h0123456789abcdefE":       "<shop::Till as core::ops::drop::Drop>::drop",
		"":        "",
		"_Z":      "_Z",
		"_ZN":     "_ZN",
		"_ZN3abc": "abc",
		"_ZN3std10sys_common9backtrace26__rust_end_short_backtrace17h541c": "std::sys_common::backtrace::__rust_end_short_backtrace",
		"_ZN3std9panicking19begin_panic_handler28_$u7b$$u7b$closure$u7d$$": "std::panicking::begin_panic_handler::{{closure}$",
		"_ZN4shop6cachedE":            "shop::cached",
		"_ZN99999999999999999999999a": "_ZN99999999999999999999999a",
		"_ZN0E":                       "_ZN0E",
	} {
		if got := Name(symbol); got != want {
			t.Errorf("%q is %q, want %q", symbol, got, want)
		}
	}
}

// The calls of a panic are counted up to the author's, and there is never nothing else.
func TestPanicCalls(t *testing.T) {
	for calls, want := range map[string]int{
		"":                                  0,
		"csa_data":                          0,
		"runtime.gopanic main.handler.Data": 1,
		"runtime.goPanicIndex main.lookUp":  1,
		"runtime.mapaccess1 main.lookUp":    0,
		"rust_panic std::panicking::x core::panicking::panic_fmt shop::sell core::panicking::panic_fmt": 3,
		"core::slice::index::slice_end_index_len_fail csa_data":                                         1,
		"rust_panicked csa_data":       0,
		"rust_panic std::panicking::x": 0,
	} {
		if got := PanicCalls(strings.Fields(calls)); got != want {
			t.Errorf("of %q %d are a panic's, want %d", calls, got, want)
		}
	}
}

// FuzzName: any name has one, and it does not grow much.
func FuzzName(f *testing.F) {
	f.Add("_ZN4shop4Shop4sellEPKci")
	f.Add("_ZN52_$LT$shop..Till$u20$as$u20$core..ops..drop..Drop$GT$4drop17h0123456789abcdefE")
	f.Fuzz(func(t *testing.T, symbol string) {
		if got := Name(symbol); len(got) > 2*len(symbol) {
			t.Errorf("%q is %q", symbol, got)
		}
	})
}
