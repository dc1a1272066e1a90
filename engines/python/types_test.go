package python_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bulkhead/engines/internal/enginetest"
	"bulkhead/engines/python"
	"bulkhead/internal/hosttest"
)

// The files of types declare what the engine has, and nothing else: names that are built in, the
// methods and fields of the log and of a connection, and the functions of the module crc.
func TestTypesAreThoseOfTheEngine(t *testing.T) {
	types, ofCRC := python.Types()
	members := func(class string) []string {
		body := enginetest.Part(t, types, `class `+class+`\(Protocol\):\n`, `\n(?:class|config)`)
		names := append(enginetest.Names(`(?m)^    def (\w+)\(`, body), enginetest.Names(`(?m)^    (\w+): `, body)...)
		return slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, "__") })
	}
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "names", Script: `
import crc, json
def names(of): return [n for n in dir(of) if n[:2] != "__"]
def line(c, text):
    c.send(json.dumps({"connection": names(c), "log": names(log), "crc": names(crc)}) + "\n")
`, TOML: "event_timeout = \"1m\""})
	c := enginetest.Dial(t, h, "names")
	hosttest.Say(t, c, "\n")
	line, err := bufio.NewReader(c).ReadBytes('\n')
	var engine struct{ Connection, Log, CRC []string }
	if err == nil {
		err = json.Unmarshal(line, &engine)
	}
	if err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	enginetest.SameNames(t, "a connection", members("Connection"), engine.Connection)
	enginetest.SameNames(t, "the log", members("Log"), engine.Log)
	enginetest.SameNames(t, "crc", enginetest.Names(`(?m)^def (\w+)`, ofCRC), engine.CRC)

	var builtins []string
	for _, file := range []string{"engine.c", "library.c", "task.c"} {
		builtins = append(builtins, enginetest.Names(`set_builtin\(MP_QSTR_(\w+)`, enginetest.Source(t, "src/"+file))...)
	}
	enginetest.SameNames(t, "what is built in", append(enginetest.Names(`(?m)^def (\w+)`, types), enginetest.Names(`(?m)^([a-z]\w*): `, types)...), builtins)
	enginetest.SameNames(t, "codes", enginetest.Names(`"([A-Z_]+)"`, enginetest.Part(t, types, `Code = Literal\[`, `\]`)), enginetest.Codes(t))
}

// A script has the types that the files declare, and what is wrong by them is found. .ci/run has a
// pyright.
func TestTypesAreChecked(t *testing.T) {
	pyright, err := exec.LookPath("pyright")
	if err != nil {
		t.Skip("there is no pyright; npm install -g pyright")
	}
	builtins, ofCRC := python.Types()
	check := func(script string) (string, error) {
		dir := t.TempDir()
		for name, text := range map[string]string{
			"__builtins__.pyi": builtins, "crc.pyi": ofCRC, "handler.py": script,
			"pyrightconfig.json": `{"pythonVersion": "3.10", "reportMissingModuleSource": "none", "typeCheckingMode": "strict", "reportUnusedFunction": "none"}`,
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(pyright)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	good := enginetest.Source(t, "testdata/api.py")
	if out, err := check(good); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	wrong := good + "\n\ndef wrong(c: Connection) -> None:\n"
	for _, line := range []string{"c.send(7)", "c.timer('a', 1)", "after(1, 7)", "crc.x25(7)", "nothing()", "c.peer = 'x'"} {
		wrong += "    " + line + "\n"
	}
	if out, err := check(wrong); err == nil || !strings.Contains(out, "6 errors") {
		t.Errorf("of six wrong lines: %v\n%s", err, out)
	}
}

// The script that the types are checked with runs.
func TestTypesAreUsed(t *testing.T) {
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "api", Script: enginetest.Source(t, "testdata/api.py"), TOML: "config = { greeting = \"hi\" }"})
	c := enginetest.Dial(t, h, "api")
	hosttest.Hear(t, c, "hi\n")
	hosttest.Say(t, c, "hello\n")
	hosttest.Hear(t, c, "ok\n")
	hosttest.HearEnd(t, c)
}
