// Package confine has the process give away what it does not need any more when its sockets are
// open, before a handler's first byte runs: privileges, files, system calls. It is of the whole
// process, and nothing of it can be taken back.
package confine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bulkhead/host/access"
	"bulkhead/host/config"
)

// use is what may be done with what lies at and below a path.
type use int

const (
	read        use = iota // files and folders
	execute                // a file, which may be read, too
	keepState              // everything but executing
	appendLog              // files can be made and written to
	holdSockets            // unix sockets can be made and removed
	readWrite              // a file that is there
)

// rule allows one use of one path. What is not there is left out.
type rule struct {
	path string
	use  use
}

// rules are all that a configuration needs of the file system while it is served, and that of later
// ones which name no other folders. Folders are named, and not files, where these may be replaced.
func rules(cfg *config.Config) []rule {
	all := slices.Clone(systemRules)
	add := func(u use, paths ...string) {
		for _, p := range paths {
			if r := (rule{p, u}); !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
	}
	file := func(path string) {
		if path != "" {
			add(read, foldersOf(path)...)
		}
	}
	add(keepState, cfg.Host.State)
	if path, err := filepath.Abs(cfg.File); err == nil {
		file(path)
	}
	file(cfg.Admin.Token)
	if log := cfg.Admin.AccessLog; log != access.Off && log != access.Stdout {
		add(appendLog, filepath.Dir(log))
	}
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		if a := l.Address; a.Network == "unix" && filepath.IsAbs(a.Host) {
			add(holdSockets, filepath.Dir(a.Host))
		}
		listenerFiles(l, add, file)
		for k := range l.Routes {
			listenerFiles(&l.Routes[k].Listener, add, file)
		}
	}
	return all
}

// listenerFiles are those that a listener or a route reads.
func listenerFiles(l *config.Listener, add func(use, ...string), file func(string)) {
	file(l.Plugin)
	if l.Folder != "" {
		add(read, l.Folder)
	}
	for _, path := range filesOf(l.TLS) {
		file(path)
	}
}

// filesOf are the files that a table of TLS names, and empty texts. The table may be nil.
func filesOf(t *config.TLS) []string {
	if t == nil {
		return nil
	}
	return slices.Concat(t.Certs, t.Keys, t.TicketKeys, []string{t.ClientCA, t.ClientCRL})
}

// mostLinks is how many links one path may lead through.
const mostLinks = 40

// foldersOf are the folders that a file is found in: its own, and, where it is a link, that of what
// it leads to, so that the file may be replaced in each.
func foldersOf(path string) []string {
	var all []string
	for range mostLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			break
		}
		all = append(all, dir)
		to, err := os.Readlink(filepath.Join(dir, filepath.Base(path)))
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(dir, to)
		}
		path = to
	}
	return all
}

// authorities are where Go looks for the certificates of authorities besides /etc.
func authorities() []string {
	all := []string{"/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/usr/share/pki"}
	if file := os.Getenv("SSL_CERT_FILE"); file != "" {
		all = append(all, foldersOf(file)...)
	}
	for dir := range strings.SplitSeq(os.Getenv("SSL_CERT_DIR"), ":") {
		if dir != "" {
			all = append(all, dir)
		}
	}
	return all
}
