package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bulkhead/host/config"

	"golang.org/x/sys/unix"
)

// leastPort is the least port that a process without privileges may listen at.
func leastPort() int {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	n, err2 := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || err2 != nil {
		return 1024
	}
	return n
}

// lowPort listens at a port that takes a privilege; nil: there is none that is free, or there are
// none.
func lowPort() (net.Listener, error) {
	var ln net.Listener
	err := errors.New("no port takes a privilege")
	for port := leastPort() - 1; ln == nil && port > 0 && !errors.Is(err, unix.EACCES); port-- {
		ln, err = net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	}
	return ln, err
}

// asUser becomes nobody, and says what is wrong with that, on threads that are older and on others.
func asUser() []string {
	var wrong []string
	want := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	cfg, err := config.LoadToRun("a.toml")
	if err != nil {
		return []string{err.Error()}
	}
	begin := onThreads(asNobody)
	if err := Begin(cfg); err != nil {
		return []string{err.Error()}
	}
	w := *changed
	if err := os.MkdirAll(cfg.Host.State, 0o700); err != nil {
		want(false, "the state folder: %v", err)
	}
	var st unix.Stat_t
	err = unix.Stat(cfg.Host.State, &st)
	want(err == nil && int(st.Uid) == w.uid && int(st.Gid) == w.gid, "the state folder is of user %d: %v", st.Uid, err)
	if leastPort() > 1 {
		ln, err := lowPort()
		want(err == nil, "a port below %d, before Enforce: %v", leastPort(), err)
		if err == nil {
			ln.Close()
		}
	}
	r, err := Enforce(cfg)
	want(err == nil && r.User.InForce, "Enforce: %+v, %v", r, err)
	groups, err := os.Getgroups()
	slices.Sort(groups)
	slices.Sort(w.groups)
	want(err == nil && slices.Equal(groups, w.groups), "the groups are %d, and not %d: %v", groups, w.groups, err)
	for _, more := range append(begin(), asNobody("main")) {
		wrong = append(wrong, more...)
	}
	return wrong
}

// asNobody says what is wrong with a thread that has dropped its privileges.
func asNobody(own string) []string {
	var wrong []string
	want := func(ok bool, what string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf("thread %s: "+what, append([]any{own}, args...)...))
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/status", unix.Gettid()))
	want(err == nil, "its status: %v", err)
	for _, line := range []string{"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"} {
		want(strings.Contains(string(status), line), "%q is not in\n%s", line, status)
	}
	u, eu, su := unix.Getresuid()
	want(u == changed.uid && eu == u && su == u, "it is of users %d, %d, %d", u, eu, su)
	want(errors.Is(unix.Setresuid(0, 0, 0), unix.EPERM), "it is root again")
	want(errors.Is(unix.Setgroups([]int{0}), unix.EPERM), "it has root's group again")
	if leastPort() > 1 {
		ln, err := lowPort()
		want(errors.Is(err, unix.EACCES), "a port below %d: %v", leastPort(), err)
		if err == nil {
			ln.Close()
		}
	}
	_, err = os.ReadFile("secret")
	want(errors.Is(err, unix.EACCES), "a file of root's: %v", err)
	want(os.WriteFile("state/"+own, nil, 0o600) == nil, "the state folder")
	f, err := os.Open("/proc/self/pagemap")
	want(err == nil, "its pages: %v", err)
	if err == nil {
		f.Close()
	}
	return wrong
}

// Privileges are there until the sockets are open, and then for no thread and for good.
func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root's processes alone can become another user's")
	}
	dir := t.TempDir()
	t.Chdir(dir)
	for _, path := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(path, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	const text = "[host]\nuser = \"nobody\"\nstate = \"state\"\n[tenant.acme]\n[[listener]]\nname = \"echo\"\ntenant = \"acme\"\naddress = \"tcp://127.0.0.1:0\"\nplugin = \"echo.wasm\"\n"
	for name, mode := range map[string]os.FileMode{"a.toml": 0o644, "echo.wasm": 0o644, "secret": 0o600} {
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	var wrong []string
	if err := json.Unmarshal(runAs(t, "user", dir), &wrong); err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong {
		t.Error(w)
	}

	// What of another user lies in the state folder could not be used.
	if err := os.WriteFile("state/roots", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(runAs(t, "user", dir), &wrong); err != nil || len(wrong) != 1 ||
		!strings.HasPrefix(wrong[0], "a.toml:2: [host] user: ") || !strings.Contains(wrong[0], `state/roots, of [host] state, belongs to user 0, and "nobody" could not use it; say chown -R nobody `) {
		t.Errorf("%q, %v", wrong, err)
	}
}

// Whom a process cannot become is said with the mend.
func TestWrongUsers(t *testing.T) {
	for name, want := range map[string]string{
		"no-such-user-here": `there is no user "no-such-user-here" on this machine; make it, as by useradd --system no-such-user-here, or name another`,
		"4294967290":        "there is no user",
		"root":              `"root" is root; name a user who has no privileges`,
		"0":                 "is root",
	} {
		cfg := &config.Config{File: "a.toml", Host: config.Host{User: name}}
		var all config.Errors
		if err := Begin(cfg); !errors.As(err, &all) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		if p := Plan(cfg).User; p.InForce || !strings.Contains(p.Note, want) {
			t.Errorf("%s: the plan is %+v", name, p)
		}
	}
	if os.Geteuid() != 0 {
		cfg := &config.Config{File: "a.toml", Host: config.Host{User: "nobody"}}
		if err := Begin(cfg); syscall.Geteuid() != 65534 && (err == nil || !strings.Contains(err.Error(), "start it as root, or as that user")) {
			t.Errorf("nobody: %v", err)
		}
	}
}
