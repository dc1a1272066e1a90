package examples_test

import (
	"net"
	"os/exec"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

// serveModbus serves a device whose registers all clients share.
func serveModbus(t *testing.T, config string) *host.Host {
	t.Helper()
	h, _ := serveOne(t, "modbus", "modbus/modbus.wasm", `instance = "listener"`, "[listener.config]", config)
	return h
}

// What one client writes another reads. Requests that come together are answered in order, and a
// client that reads nothing meanwhile loses no answer.
func TestModbus(t *testing.T) {
	h := serveModbus(t, "registers = 200")
	a, b := hosttest.Dial(t, h.Addr("modbus")), hosttest.Dial(t, h.Addr("modbus"))
	hosttest.Say(t, a, fromHex("00 01 00 00 00 06 01 06 00 05 12 34"))
	hosttest.Hear(t, a, fromHex("00 01 00 00 00 06 01 06 00 05 12 34"))
	hosttest.Say(t, b, fromHex("00 07 00 00 00 06 02 03 00 05 00 01"))
	hosttest.Hear(t, b, fromHex("00 07 00 00 00 05 02 03 02 12 34"))

	const requests = 5000 // whose answers are more than the inbox and the sockets hold
	said := make(chan error, 1)
	go func() {
		_, err := a.Write([]byte(strings.Repeat(fromHex("00 02 00 00 00 06 01 03 00 05 00 7d"), requests)))
		said <- err
	}()
	answer := fromHex("00 02 00 00 00 fd 01 03 fa 12 34") + strings.Repeat("\x00", 248)
	for range requests {
		hosttest.Hear(t, a, answer)
	}
	if err := <-said; err != nil {
		t.Fatal(err)
	}
	if n := h.Stats().Tenants[0].Counts["served"]; n != 2+requests {
		t.Errorf("%d requests are counted as served", n)
	}
	hosttest.Say(t, b, "GET / HTTP/1.1\r\n\r\n")
	ended(t, b)
}

// A client that others have written understands the device, and is understood.
func TestModbusClient(t *testing.T) {
	client, err := exec.LookPath("mbpoll")
	if err != nil {
		t.Skip("there is no mbpoll; CI installs it")
	}
	h := serveModbus(t, "registers = 3")
	_, port, err := net.SplitHostPort(h.Addr("modbus"))
	if err != nil {
		t.Fatal(err)
	}
	poll := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), client, append([]string{"-m", "tcp", "-p", port, "-a", "1", "-t", "4", "-1"}, args...)...).CombinedOutput()
		return string(out), err
	}
	for _, c := range []struct{ args, want []string }{
		{[]string{"-r", "1", "127.0.0.1", "42"}, []string{"Written 1 references."}},
		{[]string{"-r", "2", "127.0.0.1", "7", "65535"}, []string{"Written 2 references."}},
		{[]string{"-r", "1", "-c", "3", "127.0.0.1"}, []string{"[1]: \t42\n", "[2]: \t7\n", "[3]: \t65535"}},
		{[]string{"-r", "3", "-c", "2", "127.0.0.1"}, []string{"Illegal data address"}},
		{[]string{"-t", "3", "-r", "1", "127.0.0.1"}, []string{"Illegal function"}},
	} {
		out, err := poll(c.args...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("mbpoll %q (%v) has no %q:\n%s", c.args, err, want, out)
			}
		}
	}
}
