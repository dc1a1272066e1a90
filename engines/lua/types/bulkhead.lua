---@meta bulkhead
-- What handlers in Lua have besides the language, for editors: docs/LUA.md describes it. The
-- engine does not read this file. A test compares the names in here with those of the engine.

---How an operation or a connection has ended.
---@alias Code
---| "OK" | "INVALID" | "BAD_HANDLE" | "AGAIN" | "CLOSED" | "DENIED" | "QUOTA" | "NOT_FOUND"
---| "UNSUPPORTED" | "TIMEOUT" | "REFUSED" | "UNREACHABLE" | "TLS" | "RESET" | "CONFLICT"

---@class FrameLength
---@field bytes 1|2|4 Bytes of the length.
---@field little? boolean The lowest byte comes first.
---@field whole? boolean The length counts its own bytes, too.

---What a script returns: one function of these at least, and one of data, line and frame at most.
---@class Handler
---@field start? fun(config: any) The script has been loaded. There is no connection yet.
---@field open? fun(c: Connection): any A connection has begun. false refuses it.
---@field data? fun(c: Connection, bytes: string): integer? Bytes have come: how many are consumed, or nothing if all.
---@field line? fun(c: Connection, text: string) A line has come, without its end.
---@field frame? fun(c: Connection, bytes: string) A message has come, with its length in front.
---@field eof? fun(c: Connection) The peer has finished sending.
---@field writable? fun(c: Connection) All is sent, after send has answered false.
---@field secured? fun(c: Connection, result: Code) The handshake of secure is over.
---@field timer? fun(c: Connection, token: integer) A timer of c:timer has fired.
---@field closed? fun(c: Connection, reason: Code) The connection has ended.
---@field stop? fun() The host is draining.
---@field line_limit? integer Bytes of a line; a longer one closes the connection. 8192, and at most 65534.
---@field frame_length? FrameLength How frame finds the length of a message.
---@field frame_limit? integer Bytes of a frame; a longer one closes the connection. 65536 at most.
---@field queue_limit? integer Bytes that may wait to be sent; send raises an error beyond. 262144.

---A connection. A handler may keep its own values in it.
---@class Connection
---@field waiting integer How many bytes wait to be sent.
---@field handler Handler The functions for this connection; another one may be set.
---@field peer string
---@field local_address string
---@field listener string
---@field tenant string
---@field transport string
---@field server_name string
---@field alpn string
---@field tls_version string
---@field cipher string
---@field client_subject string
---@field client_names string
---@field client_fingerprint string
---@field certificate string
---@field message_type "text"|"binary"|"" Over WebSocket: what the last message was.
---@field target string Over WebSocket: the path and query that the client has asked for.
---@field origin string Over WebSocket: where the client's page is from.
---@field subprotocol string Over WebSocket: the one that both sides have agreed on.
---@field [string] any
local Connection = {}

---Sends text, or a number as text. false: something waits, or the connection takes nothing more.
---@param what string|number
---@return boolean
function Connection:send(what) end

---Closes when all is sent.
function Connection:close() end

---Says that nothing more is sent, when all is sent.
function Connection:finish() end

---Closes now.
function Connection:abort() end

---Stops reading.
function Connection:pause() end

---Reads again.
function Connection:resume() end

---Has timer called after this many ms. A negative number cancels it.
---@param token integer
---@param ms integer
function Connection:timer(token, ms) end

---Begins TLS; secured follows. A client names whose certificate the peer must have.
---@param role "server"|"client"
---@param name? string
function Connection:secure(role, name) end

---Joins the two: the host relays, and the script sees nothing more.
---@param other Connection
function Connection:splice(other) end

---The listener's config.
---@type any
config = nil

---Writes a line of the log.
---@class Log
---@field debug fun(...: any)
---@field info fun(...: any)
---@field warn fun(...: any)
---@field error fun(...: any)
---@overload fun(...: any)
log = {}

---Adds n, or 1, to a metric.
---@param name string
---@param n? integer
function count(name, n) end

---Waits, and answers a connection; or nil, what went wrong, and the code. Without a handler nobody
---reads from it.
---@param address string
---@param handler? Handler
---@return Connection?, string?, Code?
function dial(address, handler) end

---Waits.
---@param ms number
function sleep(ms) end

---Calls f later. It answers an id for cancel.
---@param ms number
---@param f function
---@return integer
function after(ms, f) end

---Forgets what after was asked for.
---@param id integer
function cancel(id) end

---Calls f now; it may wait.
---@param f function
---@param ... any
function spawn(f, ...) end

---@class Json
---@field null userdata What null is.
json = {}

---@param value any
---@return string
function json.encode(value) end

---@param text string
---@return any
function json.decode(text) end

---Marks a table that is an array also when it is empty.
---@param t? table
---@return table
function json.array(t) end

---@class Encoding
---@field encode fun(bytes: string): string
---@field decode fun(text: string): string Raises an error for what is no such text.

---@type Encoding
base64 = {}

---@type Encoding
hex = {}

---@class Checksums
---@field x25 fun(bytes: string): integer
---@field modbus fun(bytes: string): integer
---@field xmodem fun(bytes: string): integer
---@field ccitt fun(bytes: string): integer
---@field crc32 fun(bytes: string): integer
crc = {}

---@class Hashes
---@field md5 fun(bytes: string): string
---@field sha1 fun(bytes: string): string
---@field sha256 fun(bytes: string): string
---@field sha512 fun(bytes: string): string
hash = {}

---@class AuthenticationCodes
---@field md5 fun(key: string, bytes: string): string
---@field sha1 fun(key: string, bytes: string): string
---@field sha256 fun(key: string, bytes: string): string
---@field sha512 fun(key: string, bytes: string): string
hmac = {}

---The hash of what comes in parts.
---@class HashObject
local HashObject = {}

---@param bytes string
---@return HashObject
function HashObject:update(bytes) end

---@return string
function HashObject:digest() end

---@param name "md5"|"sha1"|"sha256"|"sha512"
---@return HashObject
function Hash(name) end

---Whether they are the same, in a time that does not show where they differ.
---@param a string
---@param b string
---@return boolean
function equal(a, b) end

---Random bytes that are good enough for keys.
---@param n integer
---@return string
function random_bytes(n) end
