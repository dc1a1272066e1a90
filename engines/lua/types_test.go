package lua_test

import (
	"bufio"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"bulkhead/engines/internal/enginetest"
	"bulkhead/engines/lua"
	"bulkhead/internal/hosttest"
)

// ofTheLanguage are the globals that Lua has by itself.
var ofTheLanguage = strings.Fields(`
	_G _VERSION assert collectgarbage coroutine error getmetatable ipairs load math next os pairs pcall
	print rawequal rawget rawlen rawset require select setmetatable string table tonumber tostring type
	utf8 warn xpcall`)

// types/bulkhead.lua declares what the engine has, and nothing else: globals, their functions, the
// connection, and the fields that a handler may have.
func TestTypesAreThoseOfTheEngine(t *testing.T) {
	types := lua.Types()
	class := func(name string) string {
		return enginetest.Part(t, types+"\n\n", `---@class `+name+"\n", `\n\n`)
	}
	fields := func(name string) []string { return enginetest.Names(`---@field (\w+)`, class(name)) }

	h, _ := scripts.Serve(t, enginetest.Handler{Name: "names", TOML: "config = { a = 1 }", Script: `
local function names(of)
  local all = {}
  for name in pairs(of) do all[#all + 1] = name end
  return json.array(all)
end
return { line = function(c)
  local of = {}
  for name, value in pairs(_G) do of[name] = type(value) == "table" and names(value) or json.array {} end
  c:send(json.encode(of) .. "\n")
end }`})
	c := enginetest.Dial(t, h, "names")
	hosttest.Say(t, c, "\n")
	line, err := bufio.NewReader(c).ReadBytes('\n')
	engine := map[string][]string{}
	if err == nil {
		err = json.Unmarshal(line, &engine)
	}
	if err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	var globals []string
	for name := range engine {
		if !slices.Contains(ofTheLanguage, name) {
			globals = append(globals, name)
		}
	}
	enginetest.SameNames(t, "globals", append(enginetest.Names(`(?m)^function (\w+)\(`, types), enginetest.Names(`(?m)^(\w+) = `, types)...), globals)
	enginetest.SameNames(t, "json", append(fields("Json"), enginetest.Names(`(?m)^function json\.(\w+)`, types)...), engine["json"])
	for name, of := range map[string]string{"log": "Log", "base64": "Encoding", "hex": "Encoding", "crc": "Checksums", "hash": "Hashes", "hmac": "AuthenticationCodes"} {
		enginetest.SameNames(t, name, fields(of), engine[name])
	}

	source := enginetest.Source(t, "src/connection.c")
	methods := enginetest.Names(`\{"(\w+)", connection_`, source)
	facts := enginetest.Names(`\{"(\w+)", CSA_INFO_`, source)
	enginetest.SameNames(t, "methods of a connection", enginetest.Names(`function Connection:(\w+)`, types), methods)
	enginetest.SameNames(t, "fields of a connection", fields("Connection"), append(facts, "peer", "waiting", "handler"))
	enginetest.SameNames(t, "methods of a hash", enginetest.Names(`function HashObject:(\w+)`, types),
		enginetest.Names(`\{"(\w+)", hash_`, enginetest.Source(t, "src/hash.c")))
	for _, name := range fields("Handler") {
		if !strings.Contains(source, `"`+name+`"`) {
			t.Errorf("the engine reads no %s of a handler", name)
		}
	}
	called := enginetest.Names(`([a-z]+)`, enginetest.Part(t, source, `functions that are called: "\s*"`, `"`))
	enginetest.SameNames(t, "functions of a handler", enginetest.Names(`---@field (\w+)\? fun\(`, class("Handler")), called)
	enginetest.SameNames(t, "codes", enginetest.Names(`"([A-Z_]+)"`, enginetest.Part(t, types, `---@alias Code\n`, `\n\n`)), enginetest.Codes(t))
}

// A script that names all the fields and methods that editors are told of runs.
func TestTypesOfAConnectionAreThere(t *testing.T) {
	script := "return { line = function(c, text)\n"
	for _, name := range enginetest.Names(`function Connection:(\w+)`, lua.Types()) {
		script += "assert(type(c." + name + ") == 'function', '" + name + "')\n"
	}
	class := enginetest.Part(t, lua.Types(), `---@class Connection\n`, `local Connection`)
	for _, name := range enginetest.Names(`---@field (\w+)`, class) {
		script += "assert(c." + name + " ~= nil, '" + name + "')\n"
	}
	h, _ := scripts.Serve(t, enginetest.Handler{Name: "connection", Script: script + "c:send('all\\n') end }"})
	c := enginetest.Dial(t, h, "connection")
	hosttest.Say(t, c, "\n")
	hosttest.Hear(t, c, "all\n")
}
