package tlstest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bulkhead/abi"
	"bulkhead/host"
	"bulkhead/internal/certstest"
	"bulkhead/internal/hosttest"
	w "bulkhead/internal/wasmtest"
)

// guest echoes, but what begins with "i" is answered with what info says of TLS, each
// value with ";" behind it, and a line feed; "GET" with the same in HTTP/1.0, and the end;
// and "f" with the end.
func guest(t *testing.T) string {
	t.Helper()
	m, f := w.Handler([2]string{"send", "iii:i"}, [2]string{"info", "iiii:i"}, [2]string{"control", "ii:i"})
	send, info, control := f[0], f[1], f[2]
	const head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"
	m.Data(100, ";\n"+head)
	sendAt := func(at int32, n []byte) []byte {
		return w.Cat(w.LocalGet(0), w.I32Const(at), n, w.Call(send), w.Drop)
	}
	first := func(c byte, then ...[]byte) []byte {
		return w.Cat(w.I32Const(w.WindowAt), w.I32Load8U(0), w.I32Const(int32(c)), w.I32Eq, w.If(w.Cat(then...), w.LocalGet(1), w.Return))
	}
	var all []byte
	for key := int32(abi.InfoServerName); key <= abi.InfoClientFingerprint; key++ {
		all = w.Cat(all, sendAt(300, w.Cat(w.LocalGet(0), w.I32Const(key), w.I32Const(300), w.I32Const(500), w.Call(info))), sendAt(100, w.I32Const(1)))
	}
	all = w.Cat(all, sendAt(101, w.I32Const(1)))
	end := w.Cat(w.LocalGet(0), w.I32Const(0), w.Call(control), w.Drop)
	m.Func("csa_data", "ii:i", "i",
		first('i', all),
		first('G', sendAt(102, w.I32Const(int32(len(head)))), all, end),
		first('f', end),
		// What send does not take is left for the next time.
		w.LocalGet(0), w.I32Const(w.WindowAt), w.LocalGet(1), w.Call(send), w.LocalTee(2),
		w.I32Const(0), w.I32LtS, w.IfElse('i', w.I32Const(0), w.LocalGet(2)))
	path := filepath.Join(t.TempDir(), "guest.wasm")
	if err := os.WriteFile(path, m.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// server is a host with one listener, tls, and its authority.
type server struct {
	*host.Host
	t    *testing.T
	log  *hosttest.Lines
	auth *certstest.Authority
	dir  string
	ca   string // the authority's certificate
	addr string
}

// serve has certificates, each for a list of names, in FILE.pem and FILE.key of dir,
// where FILE is the first name without "*."; settings are lines of [listener.tls], in which
// DIR is that folder.
func serve(t *testing.T, certs [][]string, settings string) *server {
	t.Helper()
	s := &server{t: t, log: hosttest.NewLines(t), auth: certstest.NewAuthority(t), dir: t.TempDir()}
	s.ca = s.auth.WriteCA(t, s.dir, "ca.pem")
	var pems, keys []string
	for _, names := range certs {
		cert, key := s.auth.Write(t, s.dir, strings.TrimPrefix(names[0], "*."), names...)
		pems, keys = append(pems, fmt.Sprintf("%q", cert)), append(keys, fmt.Sprintf("%q", key))
	}
	s.Host = hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.acme]
bandwidth = "10GiB/s"
[[listener]]
name = "tls"
tenant = "acme"
address = "tcp://127.0.0.1:0"
plugin = %q
[listener.tls]
cert = [%s]
key = [%s]
%s
`, hosttest.State(), guest(t), strings.Join(pems, ", "), strings.Join(keys, ", "), strings.ReplaceAll(settings, "DIR", s.dir)), host.Options{Log: s.log.Log()})
	s.addr = s.Addr("tls")
	return s
}

// one is a server with one certificate, for host.test.
func one(t *testing.T, settings string) *server {
	t.Helper()
	return serve(t, [][]string{{"host.test", "127.0.0.1"}}, settings)
}

// gone waits until nobody is connected.
func (s *server) gone() {
	s.t.Helper()
	hosttest.Eventually(s.t, "nobody is connected", func() bool { return s.Stats().Connections == 0 })
}

// start is an openssl s_client that verifies what it sees, as host.test unless args say
// otherwise.
func (s *server) start(args ...string) *hosttest.Talk {
	s.t.Helper()
	return hosttest.Start(s.t, "openssl", s.args(args)...)
}

// run is the same, which is given its input at once.
func (s *server) run(stdin string, args ...string) hosttest.Ran {
	s.t.Helper()
	return hosttest.Run(s.t, stdin, "openssl", s.args(args)...)
}

func (s *server) args(more []string) []string {
	args := []string{"s_client", "-connect", s.addr, "-CAfile", s.ca, "-verify_return_error", "-nameopt", "rfc2253"}
	all := " " + strings.Join(more, " ")
	if !strings.Contains(all, " -servername") && !strings.Contains(all, " -noservername") {
		args = append(args, "-servername", "host.test", "-verify_hostname", "host.test")
	}
	return append(args, more...)
}

// lets wants that a client gets in, and returns what the guest is told of it.
func (s *server) lets(args ...string) []string {
	s.t.Helper()
	k := s.start(append([]string{"-quiet"}, args...)...)
	k.Say("info\n")
	k.Hear(";\n", 1)
	k.Kill()
	text := k.Text()
	from := strings.LastIndexByte(text[:strings.IndexByte(text, ';')], '\n') + 1
	values := strings.Split(strings.TrimSuffix(text[from:], ";\n"), ";")
	if want := abi.InfoClientFingerprint - abi.InfoServerName + 1; len(values) != want {
		s.t.Fatalf("%d values, not %d:\n%s", len(values), want, text)
	}
	return values
}

// refuses wants that a client does not get in, and is told why.
func (s *server) refuses(alert string, args ...string) {
	s.t.Helper()
	r := s.run("info\n", append([]string{"-quiet"}, args...)...)
	if r.Code == 0 || strings.Contains(r.Out, ";") || !strings.Contains(r.Err, alert) {
		s.t.Errorf("%v: %v; want the alert %q", args, r, alert)
	}
}

// curl asks the guest with HTTP.
func (s *server) curl(args ...string) hosttest.Ran {
	s.t.Helper()
	return hosttest.Run(s.t, "", "curl", append([]string{"-q", "-sS", "--cacert", s.ca, "--connect-to", "::" + s.addr}, args...)...)
}

// digits are bytes that the guest and s_client take for nothing else.
func digits(n int) string {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d\n", i*7919)
	}
	return b.String()[:n-1] + "\n"
}

// each runs a test with either version of TLS.
func each(t *testing.T, test func(t *testing.T, version string)) {
	hosttest.Need(t, "openssl", "openssl")
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		t.Run(version[1:], func(t *testing.T) { test(t, version) })
	}
}
