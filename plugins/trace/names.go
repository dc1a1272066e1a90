package trace

import "strings"

// Name is a function's name as its author wrote it, as far as the compiler's name for it tells: of
// "_ZN4shop4Shop4sellEPKci" it is "shop::Shop::sell", and of Rust's names with a hash the path
// without the hash. Of a name that was cut it is as much as there is. Names that it cannot read, as
// those of C++'s templates, it returns as they are.
func Name(symbol string) string {
	s, ok := strings.CutPrefix(symbol, "_Z")
	if !ok {
		return symbol
	}
	s, nested := strings.CutPrefix(s, "N")
	if nested {
		s = strings.TrimPrefix(s, "K") // a const member function
	}
	var parts []string
	hash := false
	for more := true; more; {
		part, rest, ok := part(s)
		if !ok {
			return symbol
		}
		s = rest
		if hash = len(parts) > 0 && isHash(part); !hash {
			parts = append(parts, part)
		}
		more = nested && s != "" && s[0] != 'E' // what follows are types of parameters
	}
	if hash || strings.Contains(symbol, "$") {
		for i, part := range parts {
			parts[i] = unescape(part)
		}
	}
	return strings.Join(parts, "::")
}

// part takes the first part of a path: its length in digits, and so many bytes, or as many as there
// are.
func part(s string) (part, rest string, ok bool) {
	n, digits := 0, 0
	for digits < len(s) && s[digits] >= '0' && s[digits] <= '9' {
		if n = 10*n + int(s[digits]-'0'); n > longestPart {
			return "", "", false
		}
		digits++
	}
	s = s[digits:]
	n = min(n, len(s))
	return s[:n], s[n:], n > 0
}

// longestPart is how long a part of a name may be, in bytes.
const longestPart = 1000

// isHash reports whether a part is the hash that Rust's compiler ends a name with, or what was left
// of one.
func isHash(part string) bool {
	return len(part) >= 5 && len(part) <= 17 && part[0] == 'h' && strings.Trim(part[1:], "0123456789abcdef") == ""
}

// rustEscapes are what Rust's compiler writes in names for characters that linkers do not take.
var rustEscapes = strings.NewReplacer("$SP$", "@", "$BP$", "*", "$RF$", "&", "$LT$", "<", "$GT$", ">", "$LP$", "(", "$RP$", ")", "$C$", ",",
	"$u20$", " ", "$u27$", "'", "$u5b$", "[", "$u5d$", "]", "$u7b$", "{", "$u7d$", "}", "$u7e$", "~", "..", "::")

func unescape(part string) string {
	if strings.HasPrefix(part, "_$") {
		part = part[1:]
	}
	return rustEscapes.Replace(part)
}

// panics are functions of Rust's libraries that a panic calls, or what their names begin with.
var panics = []string{
	"__rust_start_panic", "rust_panic", "rust_begin_unwind", "__rustc::__rust_start_panic", "__rustc::rust_panic", "__rustc::rust_begin_unwind",
	"panic_abort::", "std::panicking::", "core::panicking::", "std::sys_common::backtrace::", "std::sys::backtrace::",
	"std::process::abort", "std::sys::wasm::abort_internal", "core::result::unwrap_failed", "core::option::expect_failed",
	"core::option::unwrap_failed", "core::slice::index::slice_", "core::str::slice_error_fail", "core::cell::panic_",
	"alloc::raw_vec::capacity_overflow", "alloc::alloc::handle_alloc_error",
}

// ofPanic reports whether a function, by its Name, is one of those that a language calls to panic.
func ofPanic(name string) bool {
	if name, ok := strings.CutPrefix(name, "runtime."); ok { // Go's
		name = strings.ToLower(name)
		return strings.Contains(name, "panic") || strings.HasPrefix(name, "throw") || strings.HasPrefix(name, "fatal") || name == "abort"
	}
	for _, p := range panics {
		if name == p || strings.HasSuffix(p, ":") && strings.HasPrefix(name, p) || strings.HasSuffix(p, "_") && strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// Panic stands in a text for the calls that PanicCalls counts.
const Panic = "panic"

// PanicCalls is how many of the innermost calls are those of a language that panics, and say
// nothing of where its author's code was. names are Names, the innermost first.
func PanicCalls(names []string) int {
	for i, name := range names {
		if !ofPanic(name) {
			return i
		}
	}
	return 0 // there would be nothing else
}
