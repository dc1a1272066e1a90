package examples_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/certstest"
	"bulkhead/internal/egresstest"
	"bulkhead/internal/hosttest"
)

// names is a resolver that knows some names, and nobody else's.
type names map[string]string

func (n names) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	if ip := n[strings.TrimSuffix(name, ".")]; ip != "" {
		return []netip.Addr{netip.MustParseAddr(ip)}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// serveSOCKS serves the shipped module; connect is the tenant's list, and config the
// lines of the listener's.
func serveSOCKS(t *testing.T, connect []string, config string, resolver names) *host.Host {
	t.Helper()
	plugin, err := filepath.Abs("socks5/socks5.wasm")
	if err != nil {
		t.Fatal(err)
	}
	return hosttest.Serve(t, fmt.Sprintf(`
[host]
state = %q
[tenant.web]
memory = "256MiB"
bandwidth = "10GiB/s"
connect = ["%s"]
[[listener]]
name = "socks5"
tenant = "web"
address = "tcp://127.0.0.1:0"
plugin = %q
  [listener.config]
  %s
`, hosttest.State(), strings.Join(connect, `", "`), plugin, config), host.Options{Resolver: resolver})
}

// website has a large file at /big, says at any other path what it was asked, and how
// long and with which SHA-256 the body was.
type website struct {
	*httptest.Server
	big      []byte
	requests atomic.Int64
}

func newWebsite(big int) *website {
	w := &website{big: noise(big, 5)}
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.requests.Add(1)
		if r.URL.Path == "/big" {
			rw.Header().Set("Content-Length", fmt.Sprint(len(w.big)))
			_, _ = rw.Write(w.big)
			return
		}
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		fmt.Fprintf(rw, "%s %s %d %x %v", r.Method, r.Host, n, sum.Sum(nil), err)
	}))
	w.Config.ErrorLog = quiet
	return w
}

func (w *website) port() string {
	addr := w.Listener.Addr().String()
	return addr[strings.LastIndexByte(addr, ':')+1:]
}

// curl runs it with nothing of the user's.
func curl(t *testing.T, args ...string) hosttest.Ran {
	t.Helper()
	return hosttest.Run(t, "", "curl", append([]string{"-q", "-sS"}, args...)...)
}

func sameFile(t *testing.T, path string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes came, which differ or are not all %d (%v)", len(got), len(want), err)
	}
}

func TestSOCKS5Curl(t *testing.T) {
	hosttest.Need(t, "curl", "curl")
	site := newWebsite(64 << 20)
	site.Start()
	defer site.Close()
	h := serveSOCKS(t, []string{"127.0.0.1:" + site.port(), "files.test:" + site.port()}, "", names{"files.test": "127.0.0.1", "localhost": "127.0.0.1"})
	proxies := []string{"socks5://" + h.Addr("socks5"), "socks5h://" + h.Addr("socks5")}
	byName, byAddress := "http://files.test:"+site.port(), "http://127.0.0.1:"+site.port()

	for _, proxy := range proxies {
		for _, url := range []string{byName, byAddress} {
			if proxy == proxies[0] && url == byName {
				continue // curl would have to know the name
			}
			want := fmt.Sprintf("GET %s 0 %x <nil>", strings.TrimPrefix(url, "http://"), sha256.Sum256(nil))
			if r := curl(t, "--proxy", proxy, url); r.Code != 0 || r.Out != want {
				t.Errorf("%s %s: %v; want %s", proxy, url, r, want)
			}
		}
	}

	// A large file, down and up: through the pipe, byte for byte.
	file := filepath.Join(t.TempDir(), "big")
	if r := curl(t, "--proxy", proxies[1], byName+"/big", "--output", file); r.Code != 0 {
		t.Error(r)
	}
	sameFile(t, file, site.big)
	want := fmt.Sprintf("POST files.test:%s %d %x <nil>", site.port(), len(site.big), sha256.Sum256(site.big))
	if r := curl(t, "--proxy", proxies[1], "--data-binary", "@"+file, "--header", "Expect:", byName+"/up"); r.Code != 0 || r.Out != want {
		t.Errorf("%v; want %s", r, want)
	}
	// One after the other on one connection.
	before := h.Stats().Listeners[0].Accepted
	if r := curl(t, "--proxy", proxies[0], byAddress+"/a", byAddress+"/b", byAddress+"/c"); r.Code != 0 || strings.Count(r.Out, "GET") != 3 {
		t.Error(r)
	}
	if n := h.Stats().Listeners[0].Accepted - before; n != 1 {
		t.Errorf("it took %d connections", n)
	}
	// Many at once.
	if r := curl(t, "--proxy", proxies[1], "--parallel", "--parallel-immediate", "--parallel-max", "30", byName+"/[1-90]"); r.Code != 0 || strings.Count(r.Out, "GET") != 90 {
		t.Error(r)
	}
	hosttest.Eventually(t, "nothing is open", func() bool {
		st := h.Stats()
		return st.Connections == 0 && st.Listeners[0].Instances == 0
	})
	if st := h.Stats(); st.Listeners[0].Sent < int64(len(site.big)) || st.Listeners[0].Received < int64(len(site.big)) {
		t.Errorf("the books say %d bytes sent, %d received", st.Listeners[0].Sent, st.Listeners[0].Received)
	}
}

// The proxy's client is TLS's client, with the server behind the proxy.
func TestSOCKS5CurlHTTPS(t *testing.T) {
	hosttest.Need(t, "curl", "curl")
	ca := certstest.NewAuthority(t)
	site := newWebsite(16 << 20)
	startTLS(t, site, ca, "files.test")
	defer site.Close()
	h := serveSOCKS(t, []string{"127.0.0.1:" + site.port(), "files.test:" + site.port()}, "", names{"files.test": "127.0.0.1"})
	file := filepath.Join(t.TempDir(), "big")
	if r := curl(t, "--proxy", "socks5h://"+h.Addr("socks5"), "--cacert", ca.WriteCA(t, t.TempDir(), "ca.pem"), "https://files.test:"+site.port()+"/big", "--output", file); r.Code != 0 {
		t.Error(r)
	}
	sameFile(t, file, site.big)
}

// curl says why not, as it was told by the proxy.
func TestSOCKS5CurlRefused(t *testing.T) {
	hosttest.Need(t, "curl", "curl")
	site := newWebsite(0)
	site.Start()
	defer site.Close()
	nobody := newWebsite(0)
	nobody.Start()
	deaf := nobody.port()
	nobody.Close()
	h := serveSOCKS(t, []string{"127.0.0.1:" + deaf, "*.test:" + site.port()}, "", names{"inside.test": "127.0.0.1", "metadata.test": "169.254.169.254"})
	for url, code := range map[string]string{
		"http://127.0.0.1:" + site.port():          "(2)", // not allowed
		"http://inside.test:" + site.port():        "(2)",
		"http://metadata.test:" + site.port():      "(2)",
		"http://localhost:" + site.port():          "(2)",
		"http://other.example:" + site.port():      "(2)",
		"http://none.test:" + site.port():          "(4)", // host unreachable
		"http://127.0.0.1:" + deaf:                 "(5)", // refused
		"http://[::1]:" + site.port():              "(2)",
		"http://[::ffff:127.0.0.1]:" + site.port(): "(2)",
		"http://inside.test.:" + site.port():       "(2)",
	} {
		r := curl(t, "--globoff", "--proxy", "socks5h://"+h.Addr("socks5"), url)
		if r.Code != 97 || !strings.Contains(r.Err, code) { // CURLE_PROXY
			t.Errorf("%s: %v; want %s", url, r, code)
		}
	}
	// A client of another protocol.
	if r := curl(t, "--proxy", "http://"+h.Addr("socks5"), "http://127.0.0.1:"+site.port()); r.Code == 0 {
		t.Error(r)
	}
	if r := curl(t, "--proxy", "socks4://"+h.Addr("socks5"), "http://127.0.0.1:"+site.port()); r.Code == 0 {
		t.Error(r)
	}
	if site.requests.Load() != 0 {
		t.Error("the site was asked")
	}
	hosttest.Eventually(t, "nothing is open", func() bool { return h.Stats().Connections == 0 })
}

func TestSOCKS5CurlLogin(t *testing.T) {
	hosttest.Need(t, "curl", "curl")
	site := newWebsite(0)
	site.Start()
	defer site.Close()
	h := serveSOCKS(t, []string{"127.0.0.1:" + site.port()}, `users = { ann = "secret", "bob:é" = "b@b" }`, nil)
	for login, want := range map[string]int{
		"ann:secret": 0, "bob%3A%C3%A9:b%40b": 0,
		"ann:Secret": 97, "ann:": 97, "eve:secret": 97, "": 97,
	} {
		proxy := "socks5h://" + h.Addr("socks5")
		if login != "" {
			proxy = "socks5h://" + login + "@" + h.Addr("socks5")
		}
		if r := curl(t, "--proxy", proxy, "http://127.0.0.1:"+site.port()); r.Code != want {
			t.Errorf("%q: %v; want %d", login, r, want)
		}
	}
	if n := site.requests.Load(); n != 2 {
		t.Errorf("the site was asked %d times", n)
	}
}

// What a client writes for an address of this machine, its network or its cloud is
// refused, although the tenant may dial the whole internet.
func TestSOCKS5Spellings(t *testing.T) {
	h := serveSOCKS(t, []string{"0.0.0.0/0:*", "[::/0]:*", "*.test:*"}, "", names{"inside.test": "127.0.0.1"})
	all := append(egresstest.Loopback6(), "inside.test", "INSIDE.test.")
	for _, addr := range []string{"127.0.0.1", "169.254.169.254"} {
		all = append(all, egresstest.Spellings(netip.MustParseAddr(addr))...)
	}
	_, port, err := net.SplitHostPort(h.Addr("socks5"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	asks := make(map[string]string)
	for _, host := range all {
		asks[host] = "\x03" + string([]byte{byte(len(host))}) + host
		if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil { // as bytes, too
			asks["bytes of "+host] = "\x04" + string(a.WithZone("").AsSlice())
			if a.Is4() {
				asks["bytes of "+host] = "\x01" + string(a.AsSlice())
			}
		}
	}
	for host, ask := range asks {
		c := hosttest.Dial(t, h.Addr("socks5"))
		hosttest.Say(t, c, "\x05\x01\x00\x05\x01\x00"+ask+string([]byte{byte(n >> 8), byte(n)}))
		hosttest.Hear(t, c, "\x05\x00\x05")
		reply := make([]byte, 1)
		if _, err := io.ReadFull(c, reply); err != nil || reply[0] != 1 && reply[0] != 2 {
			t.Errorf("%q is answered with %d, %v", host, reply[0], err)
		}
		c.Close()
	}
	hosttest.Eventually(t, "nothing is open", func() bool { return h.Stats().Connections == 0 })
}
