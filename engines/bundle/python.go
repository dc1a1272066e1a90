package bundle

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

func isPython(file string) bool { return path.Ext(file) == ".py" }

// pythonModules are what import gives of the engine's own, without a file.
var pythonModules = wordSet("__main__ array base64 binascii builtins cmath collections crc errno hashlib heapq hmac io json math random re struct sys time")

// pythonAbsent says what a handler writes in place of a module that is not in the engine.
var pythonAbsent = map[string]string{
	"__future__": "leave it out",
	"asyncio":    "a handler waits without it, in an async def: await sleep(ms), await dial(address), spawn(f(c))",
	"datetime":   "the module time has time() and gmtime()",
	"logging":    "write log(...), log.warn(...), log.error(...)",
	"os":         "a guest has no files and no environment; give it values by its listener's config",
	"socket":     "a handler dials by await dial(address)",
	"ssl":        "a handler begins TLS by c.secure(...)",
	"threading":  "a handler waits in an async def, and spawn(f(c)) begins another",
	"typing":     "leave the types out, or put a typing.py there that has what they need",
}

func wordSet(words string) map[string]bool {
	set := make(map[string]bool)
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}

// longestPython bounds a module's name, in bytes: the engine has room for no longer path.
const longestPython = 400

// pythonKind is what a module's name leads to.
type pythonKind int

const (
	pythonNothing pythonKind = iota
	pythonFile
	pythonPackage   // a folder with __init__.py
	pythonNamespace // a folder without
)

// buildPython makes one script of a script in Python and of the files that it imports, and they do.
// Names are paths in the script's folder. The engine finds each file by its path.
func buildPython(script string, read func(path string) answer) result {
	b := pythonBuilder{read: read, known: make(map[string]pythonKind)}
	return b.build(script, read, b.resolve)
}

type pythonBuilder struct {
	gathered
	read  func(path string) answer
	known map[string]pythonKind // by their names
}

// resolve adds what a file imports.
func (b *pythonBuilder) resolve(f scriptFile) {
	for _, p := range pythonImports(f.text) {
		err := b.add(f, p)
		if err == nil || p.may && errors.Is(err, errNoModule) {
			continue
		}
		b.errors = append(b.errors, fmt.Sprintf("%s:%d:%d: import of %q: %v", f.path, p.line, p.column, short(p.written()), err))
		if b.full() {
			return
		}
	}
}

// errNoModule is of an import that fails in the engine, too, where the script can catch it.
var errNoModule = errors.New("no such module")

type noModule struct{ error }

func (noModule) Is(target error) bool { return target == errNoModule }

func missing(format string, args ...any) error { return noModule{fmt.Errorf(format, args...)} }

var errDots = errors.New("its dots lead out of the packages in the script's folder; a file beside the script is imported by its name alone; write, for example: import helper")

// add adds what one import of a file names.
func (b *pythonBuilder) add(f scriptFile, p pythonImport) error {
	name := p.name
	if p.dots > 0 {
		base, ok := packageOf(f, p.dots)
		if !ok {
			return errDots
		}
		name = strings.Trim(base+"."+p.name, ".")
	}
	if len(name) > longestPython {
		return fmt.Errorf("its name has more than %d bytes", longestPython)
	}
	parts := strings.Split(name, ".")
	if pythonModules[parts[0]] {
		if len(parts) > 1 {
			return missing("the engine's own module %s has no module in it", parts[0])
		}
		return nil
	}
	kind := pythonNothing
	for i := range parts {
		if i > 0 && kind == pythonFile {
			return missing("%s.py is a file, and no folder that has %s.py", strings.Join(parts[:i], "/"), parts[i])
		}
		var err error
		if kind, err = b.find(strings.Join(parts[:i+1], ".")); err != nil {
			return err
		}
		if kind == pythonNothing {
			return notThere(parts[:i+1])
		}
	}
	if kind == pythonNamespace && len(p.from) == 0 {
		return missing("%s is a folder without an __init__.py; put one there, or name a file in it", strings.Join(parts, "/"))
	}
	for _, one := range p.from {
		if kind != pythonPackage && kind != pythonNamespace {
			break
		}
		found, err := b.find(name + "." + one)
		if err != nil {
			return err
		}
		if found == pythonNothing && kind == pythonNamespace {
			return notThere(append(parts, one))
		}
	}
	return nil
}

// packageOf is the name of the package that dots of an import lead to.
func packageOf(f scriptFile, dots int) (name string, ok bool) {
	if f.name == "-" {
		return "", false
	}
	folder := path.Dir(f.name)
	for ; dots > 1 && folder != "."; dots-- {
		folder = path.Dir(folder)
	}
	return strings.ReplaceAll(folder, "/", "."), folder != "."
}

func notThere(parts []string) error {
	file := strings.Join(parts, "/")
	if mend := pythonAbsent[file]; mend != "" {
		return missing("the engine does not have it, and there is no %s.py in the script's folder; %s", file, mend)
	}
	if len(parts) > 1 {
		return missing("there is no %s.py and no %s/__init__.py in the script's folder; put the file there", file, file)
	}
	return missing("there is no %s.py and no %s/__init__.py in the script's folder, and the engine has no such module; put the file there, or leave the import out; docs/PYTHON.md says what the engine has", file, file)
}

// find looks for a module, and adds its file when it is found first.
func (b *pythonBuilder) find(name string) (pythonKind, error) {
	if kind, ok := b.known[name]; ok {
		return kind, nil
	}
	file := strings.ReplaceAll(name, ".", "/")
	kind := pythonNothing
	for _, try := range []struct {
		path, what string
		kind       pythonKind
	}{{file + "/__init__.py", isFile, pythonPackage}, {file + ".py", isFile, pythonFile}, {file, isFolder, pythonNamespace}} {
		a := b.read(try.path)
		if a.Kind == isBarred {
			return pythonNothing, wrong(a)
		}
		if a.Kind == try.what {
			kind = try.kind
			if try.what == isFile {
				b.files = append(b.files, scriptFile{try.path, try.path, a.content})
			}
			break
		}
	}
	b.known[name] = kind
	return kind, nil
}
