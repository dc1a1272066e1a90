package bundle

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
)

// resolver finds what is imported, as Node and TypeScript do, within the script's folder.
type resolver struct {
	mu        sync.Mutex // who uses it holds it
	read      func(path string) answer
	answers   map[string]answer
	manifests map[string]*manifest // by folder
}

func newResolver(read func(path string) answer) *resolver {
	return &resolver{read: read, answers: make(map[string]answer), manifests: make(map[string]*manifest)}
}

// at is what lies at a path. It is asked for once.
func (r *resolver) at(path string) answer {
	if a, known := r.answers[path]; known {
		return a
	}
	a := r.read(path)
	r.answers[path] = a
	if a.Kind == isFile && a.Real != path {
		r.answers[a.Real] = a
	}
	return a
}

const packages = "node_modules"

// nodes are the modules that come with Node, with which packages may have been written.
var nodes = strings.Fields("assert async_hooks buffer child_process cluster console constants crypto dgram diagnostics_channel dns domain events fs http http2 https inspector module net os path perf_hooks process punycode querystring readline repl stream string_decoder sys timers tls trace_events tty url util v8 vm wasi worker_threads zlib")

var (
	errAbsent  = errors.New("there is no such file; write its path from this file, with its ending, and see that it is there")
	errOutside = errors.New("it is outside of the script's folder, and nothing is read there; put it into the folder")
	errNetwork = errors.New("nothing is fetched from a network; put the file into the script's folder")
	errNode    = errors.New("it comes with Node, and a handler has none of it; docs/JAVASCRIPT.md says what it has")
	errName    = errors.New("that is no name of a package, and no path, which begins with ./")
)

// wrong is why what should be a file is none.
func wrong(a answer) error {
	switch a.Kind {
	case isBarred:
		return errors.New(a.Why)
	case isFolder:
		return errors.New("that is a folder without a package.json or an index file; name the file")
	}
	return errAbsent
}

// resolve is the file that a text names in an import of a file. require says how it is imported.
func (r *resolver) resolve(named, importer string, require bool) (file string, err error) {
	switch scheme, _, ok := strings.Cut(named, ":"); {
	case scheme == "node" && ok:
		return "", errNode
	case ok && (scheme == "http" || scheme == "https"):
		return "", errNetwork
	case strings.HasPrefix(named, "/") || scheme == "file" && ok:
		return "", errOutside
	case named == "." || named == ".." || strings.HasPrefix(named, "./") || strings.HasPrefix(named, "../"):
		target := path.Join(path.Dir(importer), named)
		if target == ".." || strings.HasPrefix(target, "../") {
			return "", errOutside
		}
		return r.fileOrFolder(target, require)
	case strings.HasPrefix(named, "#"):
		return r.ownImport(named, importer, require)
	}
	return r.inPackages(named, importer, require, 0)
}

// endings are tried where a path has no file, in this order.
func endings(file string) []string {
	if strings.Contains("/"+file, "/"+packages+"/") {
		return []string{".js", ".mjs", ".cjs", ".json", ".ts", ".mts", ".cts", ".tsx", ".jsx"}
	}
	return []string{".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs", ".json"}
}

// sources are the endings that files in TypeScript have, by the ending of what is compiled of them,
// which is what they call each other.
var sources = map[string][]string{".js": {".ts", ".tsx"}, ".jsx": {".tsx"}, ".mjs": {".mts"}, ".cjs": {".cts"}}

// exact is the file of a path, or the one in TypeScript that is meant.
func (r *resolver) exact(target string) (file string, err error) {
	a := r.at(target)
	if a.Kind == isFile {
		return a.Real, nil
	}
	ending := path.Ext(target)
	for _, source := range sources[ending] {
		if s := r.at(strings.TrimSuffix(target, ending) + source); s.Kind == isFile {
			return s.Real, nil
		}
	}
	return "", wrong(a)
}

// file is the file of a path that may lack its ending.
func (r *resolver) file(target string) (file string, err error) {
	if file, err = r.exact(target); err == nil {
		return file, nil
	}
	for _, ending := range endings(target) {
		switch a := r.at(target + ending); a.Kind {
		case isFile:
			return a.Real, nil
		case isBarred:
			return "", wrong(a)
		}
	}
	return "", err
}

// fileOrFolder is the file of a path, or the one that a folder stands for.
func (r *resolver) fileOrFolder(target string, require bool) (file string, err error) {
	if file, err = r.file(target); err == nil || r.at(target).Kind != isFolder {
		return file, err
	}
	return r.main(r.at(target).Real, require)
}

// main is the file that a folder stands for.
func (r *resolver) main(folder string, require bool) (file string, err error) {
	m, err := r.manifest(folder)
	if err != nil {
		return "", err
	}
	fields := []string{m.Module, m.Main}
	if require {
		slices.Reverse(fields)
	}
	for _, field := range fields {
		target := path.Join(folder, field)
		if field == "" || !within(target, folder) {
			continue
		}
		if file, err := r.file(target); err == nil {
			return file, nil
		} else if a := r.at(target); a.Kind == isFolder {
			if file, err := r.file(path.Join(a.Real, "index")); err == nil {
				return file, nil
			}
		}
	}
	if file, err = r.file(path.Join(folder, "index")); err != nil && errors.Is(err, errAbsent) {
		err = wrong(answer{Kind: isFolder})
	}
	return file, err
}

// within reports whether a clean path is a folder, or in it.
func within(target, folder string) bool {
	return folder == "." && target != ".." && !strings.HasPrefix(target, "../") || target == folder || strings.HasPrefix(target, folder+"/")
}

// mostJumps is how many names may lead to each other.
const mostJumps = 10

// inPackages is the file of a package that is named from a file.
func (r *resolver) inPackages(named, importer string, require bool, jumps int) (file string, err error) {
	parts := strings.SplitN(named, "/", 3)
	n := 1
	if strings.HasPrefix(named, "@") {
		n = 2
	}
	if len(parts) < n || slices.ContainsFunc(parts[:n], func(s string) bool { return s == "" || s == "." || s == ".." }) || jumps > mostJumps || strings.ContainsAny(named, "\\\x00") {
		return "", errName
	}
	name := strings.Join(parts[:n], "/")
	below := strings.TrimPrefix(named[len(name):], "/")
	if own, folder, err := r.scope(importer); err != nil {
		return "", err
	} else if own != nil && own.Name == name && own.exports != nil {
		return r.exported(own, folder, name, below, require, jumps)
	}
	for folder := path.Dir(importer); ; folder = path.Dir(folder) {
		if path.Base(folder) != packages {
			a := r.at(path.Join(folder, packages, name))
			switch a.Kind {
			case isBarred:
				return "", wrong(a)
			case isFolder:
				return r.inPackage(a.Real, name, below, require, jumps)
			}
		}
		if folder == "." {
			break
		}
	}
	if slices.Contains(nodes, name) {
		return "", errNode
	}
	return "", fmt.Errorf("there is no %s/%s beside the script; put the package there, for example by npm install %s, or begin the path of a file with ./", packages, name, name)
}

func (r *resolver) inPackage(folder, name, below string, require bool, jumps int) (file string, err error) {
	m, err := r.manifest(folder)
	switch {
	case err != nil:
		return "", err
	case m.exports != nil:
		return r.exported(m, folder, name, below, require, jumps)
	case below == "":
		return r.main(folder, require)
	}
	target := path.Join(folder, below)
	if !within(target, folder) {
		return "", errOutside
	}
	return r.fileOrFolder(target, require)
}

// exported is what a package exports by a name.
func (r *resolver) exported(m *manifest, folder, name, below string, require bool, jumps int) (file string, err error) {
	key := "."
	if below != "" {
		key = "./" + below
	}
	exports := m.exports
	if !exports.hasPaths() {
		if key != "." {
			return "", fmt.Errorf("the package %s exports nothing but itself; import it by its name alone", name)
		}
		return r.target(exports, folder, "", require, false, jumps)
	}
	entry, star := exports.match(key)
	if entry == nil {
		return "", fmt.Errorf("the package %s does not export that: its package.json has no %q in exports; import what it exports", name, key)
	}
	return r.target(entry, folder, star, require, false, jumps)
}

// ownImport is what the package of a file calls by a name that begins with #.
func (r *resolver) ownImport(named, importer string, require bool) (file string, err error) {
	m, folder, err := r.scope(importer)
	if err != nil {
		return "", err
	}
	if m != nil && m.imports != nil {
		if entry, star := m.imports.match(named); entry != nil {
			return r.target(entry, folder, star, require, true, 0)
		}
	}
	return "", errors.New("no package.json above this file has it in imports; add it there")
}

var errBlocked = errors.New("its package.json has nothing for it that fits a handler: none of the conditions import or require, module and default")

// target is the file that an entry of exports or imports names.
func (r *resolver) target(entry *entry, folder, star string, require, bare bool, jumps int) (file string, err error) {
	switch {
	case entry.text != nil:
		to := strings.ReplaceAll(*entry.text, "*", star)
		if !strings.HasPrefix(to, "./") {
			if bare && jumps < mostJumps && !strings.HasPrefix(to, "../") && !strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "#") {
				return r.inPackages(to, path.Join(folder, "package.json"), require, jumps+1)
			}
			return "", fmt.Errorf("its package.json names %q for it, which does not begin with ./", to)
		}
		if slices.ContainsFunc(strings.Split(to[2:], "/"), func(s string) bool { return s == ".." || s == "." || s == packages }) {
			return "", fmt.Errorf("its package.json names %q for it, which leads out of the package", to)
		}
		return r.exact(path.Join(folder, to))
	case entry.list != nil:
		err = errBlocked
		for _, one := range entry.list {
			if file, err = r.target(one, folder, star, require, bare, jumps); err == nil {
				return file, nil
			}
		}
		return "", err
	}
	for i, key := range entry.keys {
		if key == "default" || key == "module" || key == "import" && !require || key == "require" && require {
			if file, err = r.target(entry.values[i], folder, star, require, bare, jumps); !errors.Is(err, errBlocked) {
				return file, err
			}
		}
	}
	return "", errBlocked
}
