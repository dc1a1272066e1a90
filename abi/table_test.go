package abi

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestCodes(t *testing.T) {
	for i, row := range Codes {
		if row.Code != Code(-i) {
			t.Errorf("row %d of Codes is %d; it must be %d, as String relies on it", i, row.Code, -i)
		}
		if row.Code.String() != row.Name || !row.Code.Valid() {
			t.Errorf("%d is %v, valid %v; want %s", row.Code, row.Code, row.Code.Valid(), row.Name)
		}
		if !regexp.MustCompile(`^[A-Z_]+$`).MatchString(row.Name) {
			t.Errorf("the name %q is not in capitals", row.Name)
		}
		checkDoc(t, row.Name, row.Meaning)
	}
	for _, c := range []Code{1, 7, 1<<31 - 1, Code(-len(Codes)), -1 << 31} {
		if c.Valid() {
			t.Errorf("%d counts as a code", int32(c))
		}
		if !strings.HasPrefix(c.String(), "Code(") {
			t.Errorf("%d is written %q", int32(c), c)
		}
	}
	if Reset != -13 || TLS.String() != "TLS" || Conflict != -14 || len(Codes) != 15 {
		t.Error("the codes of version 1 have moved")
	}
}

func checkDoc(t *testing.T, name, doc string) {
	t.Helper()
	if len(doc) < 10 || !strings.HasSuffix(doc, ".") || strings.Count(doc, "`")%2 != 0 || strings.Contains(doc, "  ") {
		t.Errorf("%s is described by %q, which is no clean text", name, doc)
	}
}

func checkFunction(t *testing.T, f *Function) {
	t.Helper()
	if !regexp.MustCompile(`^[a-z][a-z_]*$`).MatchString(f.Name) {
		t.Errorf("%q is no name", f.Name)
	}
	checkDoc(t, f.Name, f.Doc)
	if f.Since != "v1" {
		t.Errorf("%s is there since %q", f.Name, f.Since)
	}
	if len(f.Results) > 1 {
		t.Errorf("%s has %d results", f.Name, len(f.Results))
	}
	seen := map[string]bool{}
	for i, p := range f.Params {
		if p.Name == "" || seen[p.Name] {
			t.Errorf("%s: parameter %d is called %q", f.Name, i, p.Name)
		}
		seen[p.Name] = true
		if p.Access == None {
			continue
		}
		if p.Type != I32 || i+1 == len(f.Params) {
			t.Errorf("%s: %s is no pointer with a length behind it", f.Name, p.Name)
		} else if l := f.Params[i+1]; l.Type != I32 || l.Access != None || l.Name != "len" && l.Name != "cap" {
			t.Errorf("%s: %s stands where the length of %s has to", f.Name, l.Name, p.Name)
		}
	}
}

func TestHostFunctions(t *testing.T) {
	seen := map[string]bool{}
	for i := range HostFunctions {
		f := &HostFunctions[i]
		checkFunction(t, &f.Function)
		if seen[f.Name] {
			t.Errorf("%s is there twice", f.Name)
		}
		seen[f.Name] = true
		if len(f.Results) != 1 {
			t.Errorf("%s has no result to put a code in", f.Name)
		}
		for j, c := range f.Errors {
			if c == OK || !c.Valid() || j > 0 && c >= f.Errors[j-1] {
				t.Errorf("%s: the errors %v are not codes in order", f.Name, f.Errors)
			}
		}
		if len(f.Params) > 0 && f.Params[0].Name == "conn" && !slices.Contains(f.Errors, BadHandle) {
			t.Errorf("%s takes a connection and never answers BAD_HANDLE", f.Name)
		}
		if f.Built == slices.Contains(f.Errors, Unsupported) {
			t.Errorf("%s: built %v, and yet its errors are %v", f.Name, f.Built, f.Errors)
		}
	}
}

// What the columns say of a function goes together with its signature and with each other.
func TestColumns(t *testing.T) {
	for i := range HostFunctions {
		f := &HostFunctions[i]
		if f.OffLoop && slices.Contains(f.Errors, BadHandle) {
			t.Errorf("%s is about a connection, which is its loop's, and may run off the loop", f.Name)
		}
		if f.Commands && (!f.OffLoop || len(f.Later) > 0) {
			t.Errorf("%s is there for commands, which have no loop and no callbacks", f.Name)
		}
		if f.OffLoop && len(f.Later) > 0 {
			t.Errorf("%s has callbacks come, which is the loop's to do, and may run off it", f.Name)
		}
		for _, name := range f.Later {
			if !slices.ContainsFunc(GuestExports, func(e Export) bool { return e.Name == name && e.Built }) {
				t.Errorf("%s is followed by %s, which is not called", f.Name, name)
			}
		}
	}
}

func TestGuestExports(t *testing.T) {
	seen := map[string]bool{}
	var required []string
	for i := range GuestExports {
		e := &GuestExports[i]
		checkFunction(t, &e.Function)
		if !strings.HasPrefix(e.Name, "csa_") || seen[e.Name] {
			t.Errorf("the export %q has a wrong name, or is there twice", e.Name)
		}
		seen[e.Name] = true
		if e.Required {
			required = append(required, e.Name)
		}
		if len(e.Errors) != 0 {
			t.Errorf("%s has errors; a guest answers any code", e.Name)
		}
		if e.Required && !e.Built {
			t.Errorf("%s is required and never called", e.Name)
		}
	}
	if !slices.Equal(required, []string{"csa_window", "csa_data"}) {
		t.Errorf("required are %v", required)
	}
	for _, name := range eventNames {
		if !seen[name] {
			t.Errorf("the event %s has no export", name)
		}
	}
}

// The signatures of version 1 are in guests that nobody will build again.
func TestSignaturesStay(t *testing.T) {
	want := `send(conn, ptr, len) -> i32
control(conn, what) -> i32
receive(conn, on) -> i32
want(conn, n) -> i32
info(conn, key, ptr, cap) -> i32
config(ptr, cap) -> i32
timer(conn, token, ms) -> i32
clock(which) -> i64
random(ptr, len) -> i32
log(level, ptr, len) -> i32
count(ptr, len, n i64) -> i32
connect(ptr, len) -> i32
makessl(conn, role, ptr, len) -> i32
splice(a, b) -> i32
csa_window() -> i64
csa_start() -> i32
csa_reseed()
csa_open(conn) -> i32
csa_data(conn, len) -> i32
csa_writable(conn)
csa_secured(conn, status)
csa_eof(conn)
csa_closed(conn, reason)
csa_timer(conn, token)
csa_message(topic_len, len)
csa_result(token, status, revision i64, len)
csa_stop()
csa_one_connection()
`
	var got strings.Builder
	for i := range HostFunctions {
		got.WriteString(HostFunctions[i].Signature() + "\n")
	}
	for i := range GuestExports {
		got.WriteString(GuestExports[i].Signature() + "\n")
	}
	for i := range Declarations {
		got.WriteString(Declarations[i].Signature() + "\n")
	}
	if got.String() != want {
		t.Errorf("the signatures have changed:\n%s", got.String())
	}
	if ValueType(9).String() != "unknown" {
		t.Error("a value type that does not exist has a name")
	}
}
