package toolchain

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// unworkable is what of Go's library builds for a guest, and does something else there than
// elsewhere. Where names is nil, all functions of the package are meant but those of except.
var unworkable = []struct {
	path          string
	names, except []string
	what, mend    string
}{
	{"net", []string{"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialIP", "DialUnix", "Dialer"}, nil,
		"reaches a loopback of Go's own inside the guest, where nobody listens: connection refused",
		`guest.Connect("tcp://host:port") dials, where the tenant's connect allows it`},
	{"net", []string{"Listen", "ListenTCP", "ListenUDP", "ListenUnix", "ListenPacket", "ListenConfig"}, nil,
		"listens on a loopback of Go's own inside the guest, which nobody reaches",
		"the listener's address says where the host listens, and connections come to Open"},
	{"net", []string{"LookupHost", "LookupIP", "LookupAddr", "LookupCNAME", "LookupMX", "LookupNS", "LookupSRV", "LookupTXT", "LookupPort", "LookupNetIP", "Resolver", "DefaultResolver"}, nil,
		"asks a name server on a loopback of Go's own inside the guest: connection reset",
		`guest.Connect("tcp://host:port") has the host look the name up`},
	{"net/http", []string{"Get", "Head", "Post", "PostForm", "DefaultClient", "Client", "ListenAndServe", "ListenAndServeTLS", "Serve", "Server"}, nil,
		"needs sockets, which a handler does not have",
		"guest.Connect dials, and connections come to Open; http.ReadRequest, http.ReadResponse and their Write work on bytes"},
	{"os", []string{"Open", "OpenFile", "OpenInRoot", "OpenRoot", "Create", "CreateTemp", "ReadFile", "WriteFile", "ReadDir", "DirFS", "Stat", "Lstat", "Mkdir", "MkdirAll", "MkdirTemp", "Remove", "RemoveAll", "Rename"}, nil,
		"finds no files, which a handler does not have: bad file number",
		"go:embed has files in the module, and [listener.config] is given to Start"},
	{"os", []string{"Args", "Environ", "Getenv", "LookupEnv", "ExpandEnv"}, nil,
		"is empty, since a handler has neither arguments nor an environment",
		"[listener.config] is given to Start, and guest.Config has it"},
	{"os", []string{"Exit"}, nil,
		"ends the instance, with all its connections",
		"an error that a callback returns ends one connection, and so does Abort"},
	{"os/exec", []string{"Command", "CommandContext"}, nil,
		"starts nothing: a handler has no processes",
		"write in the handler what the command does, or dial a server that does it"},
	{"os/signal", []string{"Notify", "NotifyContext"}, nil,
		"hears of no signal",
		"Stop is called when the host drains"},
	{"time", []string{"Sleep"}, nil,
		"spins in a callback until event_timeout stops it, and in a goroutine goes on with the first callback after its time",
		"return, and set a timer: SetTimer and Timer"},
	{"time", []string{"After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}, nil,
		"fires with the first callback after its time, whenever that is",
		"set a timer of the host's: SetTimer and Timer"},
	{"math/rand", nil, []string{"New", "NewSource", "NewZipf", "Rand", "Source", "Source64", "Zipf", "Seed"}, randRepeats, randMend},
	{"math/rand/v2", nil, []string{"New", "NewPCG", "NewChaCha8", "NewZipf", "Rand", "Source", "PCG", "ChaCha8", "Zipf"}, randRepeats, randMend},
}

const (
	randRepeats = "repeats from one connection's instance to the next, since each is a copy of one that had started"
	randMend    = "guest.Rand and crypto/rand do not"
)

// knownMark ends a line of which its author knows.
const knownMark = "//bulkhead:known"

// sayUnworkable says where the author's files use what is unworkable, as a compiler would: it is
// no error, since the place may never be reached. Files that are not there say nothing.
func (b *build) sayUnworkable(files []string) {
	dir, err := filepath.Abs(b.dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		name := file
		if real, err := filepath.EvalSymlinks(file); err == nil {
			if rel, err := filepath.Rel(dir, real); err == nil {
				name = rel
			}
		}
		for _, line := range unworkableIn(name, text) {
			fmt.Fprintln(b.log, line)
		}
	}
}

// unworkableIn are the lines on a file, whose name they begin with.
func unworkableIn(name string, text []byte) (lines []string) {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, text, parser.ParseComments) // and what names stand for
	if err != nil {
		return nil // the compiler has said it
	}
	known := make(map[int]bool) // by line
	for _, group := range f.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, knownMark) {
				known[files.Position(c.Pos()).Line] = true
			}
		}
	}
	paths := make(map[string]string) // by the name in the file
	for _, i := range f.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			continue
		}
		as := path.Base(strings.TrimSuffix(p, "/v2"))
		if i.Name != nil {
			as = i.Name.Name
		}
		paths[as] = p
	}
	ast.Inspect(f, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := s.X.(*ast.Ident)
		if !ok || x.Obj != nil { // a variable that is called as a package
			return true
		}
		for _, u := range unworkable {
			meant := slices.Contains(u.names, s.Sel.Name) || u.names == nil && !slices.Contains(u.except, s.Sel.Name)
			if u.path != paths[x.Name] || !meant {
				continue
			}
			at := files.Position(s.Pos())
			if known[at.Line] {
				continue
			}
			lines = append(lines, fmt.Sprintf("./%s:%d:%d: %s.%s in a handler %s; %s", filepath.ToSlash(name), at.Line, at.Column, x.Name, s.Sel.Name, u.what, u.mend))
		}
		return true
	})
	return lines
}
