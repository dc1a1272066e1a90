package examples_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"bulkhead/host"
	"bulkhead/internal/hosttest"
)

func serveMailbox(t *testing.T) (*host.Host, *hosttest.Lines) {
	t.Helper()
	return serveOne(t, "pop3", "pop3/pop3.py", `instance = "listener"`,
		`[listener.config.users.ann]`, `password = "secret"`,
		fmt.Sprintf(`messages = ["Subject: one\n\nfirst\n.dot\n..\n", "Subject: two\n\n%s\n"]`, strings.Repeat(`a line of many\n`, 3000)))
}

// A real client lists, reads and deletes; what it has deleted is gone for the next.
func TestPOP3ByCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl; CI installs it")
	}
	h, _ := serveMailbox(t)
	curl := func(args ...string) (string, error) {
		out, err := exec.Command("curl", append([]string{"-sS", "-m", "200", "-u", "ann:secret"}, args...)...).CombinedOutput()
		return strings.ReplaceAll(string(out), "\r\n", "\n"), err
	}
	url := "pop3://" + h.Addr("pop3") + "/"
	want := func(what, want string, args ...string) {
		t.Helper()
		if got, err := curl(args...); err != nil || got != want {
			t.Errorf("%s: %.200q (%v), want %.200q", what, got, err, want)
		}
	}
	long := "Subject: two\n\n" + strings.Repeat("a line of many\n", 3000) + "\n"
	want("the list", "1 33\n2 48018\n", url)
	want("a message whose lines begin with dots", "Subject: one\n\nfirst\n.dot\n..\n", url+"1")
	want("a long message", long, url+"2")
	want("deleting", "", url+"1", "-X", "DELE", "-I")
	want("the list after that", "2 48018\n", url)
	if out, err := curl("-u", "ann:wrong", url); err == nil {
		t.Errorf("a wrong password passes: %s", out)
	}
	if n := h.Stats().Tenants[0].Counts["pop3_messages"]; n != 2 {
		t.Errorf("%d messages are counted, want 2", n)
	}
}

// One client at a time has a mailbox, and who goes without QUIT has deleted nothing.
func TestPOP3Locks(t *testing.T) {
	h, log := serveMailbox(t)
	login := "USER ann\r\nPASS secret\r\n"
	const hello, asked = "+OK Bulkhead's mailbox is ready\r\n", "+OK and the password?\r\n"
	const there = "+OK mailbox with 2 messages (48051 bytes)\r\n"
	first := hosttest.Dial(t, h.Addr("pop3"))
	hosttest.Say(t, first, login+"DELE 1\r\n")
	hosttest.Hear(t, first, hello+asked+there+"+OK deleted when you quit\r\n")
	second := hosttest.Dial(t, h.Addr("pop3"))
	hosttest.Say(t, second, login)
	hosttest.Hear(t, second, hello+asked+"-ERR [IN-USE] somebody else has this mailbox\r\n")
	first.Close()
	log.Wait("connection closed")
	hosttest.Say(t, second, "PASS secret\r\nRSET\r\nQUIT\r\n")
	hosttest.Hear(t, second, there+"+OK again 2 messages (48051 bytes)\r\n+OK bye\r\n")
	hosttest.HearEnd(t, second)
}
