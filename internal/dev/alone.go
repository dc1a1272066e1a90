package dev

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"bulkhead/engines"
	"bulkhead/host/config"
	"bulkhead/internal/toolchain"
	"bulkhead/plugins/admit"
)

// Found is what a path that an author has given leads to: a configuration, or a handler without
// one.
type Found struct {
	// TOML is the absolute path of the configuration. "": there is none, and Plugin is that of the
	// handler, which may be still to be built.
	TOML, Plugin string
}

// Find finds what is meant by a path: a configuration, a handler, a handler's source, or a folder
// that has one of these.
func Find(path string) (Found, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Found{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return Found{}, err
	}
	if info.IsDir() {
		return findInFolder(path)
	}
	_, compiled := engines.AssemblyScript(path)
	switch ext := filepath.Ext(path); {
	case ext == ".toml":
		return Found{TOML: path}, nil
	case ext == ".wasm" || engines.IsScript(path) && !compiled:
		return Found{Plugin: path}, nil
	}
	source, err := toolchain.Find(path)
	if err != nil {
		return Found{}, err
	}
	return Found{Plugin: filepath.Join(source.Dir(), source.Name()+".wasm")}, nil
}

// findInFolder prefers a configuration to a project without one, and that to a script.
func findInFolder(folder string) (Found, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return Found{}, err
	}
	var tomls, scripts []string
	for _, e := range entries {
		name := e.Name()
		path := filepath.Join(folder, name)
		switch {
		case strings.HasPrefix(name, ".") || !e.Type().IsRegular():
		case filepath.Ext(name) == ".toml" && isConfiguration(path):
			tomls = append(tomls, name)
		case engines.IsScript(name) && !strings.HasSuffix(name, ".d.ts"):
			scripts = append(scripts, name)
		}
	}
	switch {
	case len(tomls) == 1:
		return Found{TOML: filepath.Join(folder, tomls[0])}, nil
	case len(tomls) > 1:
		return Found{}, fmt.Errorf("%s has several configurations: %s; name the one that is to be served", folder, strings.Join(tomls, ", "))
	}
	source, err := toolchain.Find(folder)
	switch {
	case err == nil:
		return Found{Plugin: filepath.Join(folder, source.Name()+".wasm")}, nil
	case len(scripts) == 1:
		return Found{Plugin: filepath.Join(folder, scripts[0])}, nil
	case len(scripts) > 1:
		return Found{}, fmt.Errorf("%s has several scripts: %s; name the one that is the handler", folder, strings.Join(scripts, ", "))
	}
	return Found{}, fmt.Errorf("%s has neither a configuration with a [[listener]] nor a handler (%w)", folder, err)
}

var listenerTable = regexp.MustCompile(`(?m)^\s*\[\[\s*listener\s*\]\]`)

// isConfiguration tells a configuration from other files in TOML, such as Cargo's.
func isConfiguration(path string) bool {
	text, err := os.ReadFile(path)
	return err == nil && listenerTable.Match(text)
}

// DefaultListen is where a handler without a configuration listens.
const DefaultListen = "127.0.0.1:7000"

// Configuration is one for a handler that has none, with the defaults of all keys: at an address of
// TCP, HOST:PORT, or one with its network before it, as a listener's.
func Configuration(plugin, listen, state string) (text string, err error) {
	if !strings.Contains(listen, "://") {
		if _, _, err := net.SplitHostPort(listen); err != nil {
			return "", fmt.Errorf("--listen %s: %w; write HOST:PORT, such as %s", listen, err, DefaultListen)
		}
		listen = "tcp://" + listen
	}
	name := nameOf(plugin)
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by bulkhead dev, for %s, which has no configuration of its own.\n", plugin)
	fmt.Fprintf(&b, "[host]\nstate = %s\n\n[tenant.%s]\n\n[[listener]]\nname = %q\ntenant = %q\n", config.Quote(state), name, name, name)
	fmt.Fprintf(&b, "address = %s\nplugin = %s\n", config.Quote(listen), config.Quote(plugin))
	// What is wrong with one that cannot be read loading says.
	if program, _ := admit.IsProgram(plugin); program {
		b.WriteString("shape = \"stdio\"\n")
	}
	return b.String(), nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9-]+`)

// nameOf makes a name of a tenant and of a listener of a file's.
func nameOf(plugin string) string {
	stem := strings.TrimSuffix(filepath.Base(plugin), filepath.Ext(plugin))
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(stem), "-"), "-")
	if len(name) > 32 {
		name = strings.TrimRight(name[:32], "-")
	}
	if name == "" || name[0] < 'a' {
		return "handler"
	}
	return name
}

// WriteConfiguration writes a configuration for a handler that has none into a folder of the user's
// cache that is this handler's, with its state folder, and returns its path.
func WriteConfiguration(plugin, listen string) (path string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("a handler without a configuration needs a folder for what is compiled: %w; write a configuration, or set XDG_CACHE_HOME", err)
	}
	folder := filepath.Join(cache, "bulkhead", "dev", nameOf(plugin)+"-"+strconv.FormatUint(sum(plugin), 36))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("a handler without a configuration needs a folder for what is compiled: %w; write a configuration, or set XDG_CACHE_HOME", err)
	}
	text, err := Configuration(plugin, listen, filepath.Join(folder, "state"))
	if err != nil {
		return "", err
	}
	path = filepath.Join(folder, "dev.toml")
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// sum tells apart handlers that have one name.
func sum(path string) uint64 {
	s := sha256.Sum256([]byte(path))
	return binary.BigEndian.Uint64(s[:])
}
