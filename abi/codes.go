package abi

import "strconv"

// Code is a result that crosses the boundary between host and guest. Zero is
// success; what is negative is an error, and one of the constants below; what
// is positive is no code but a count or a length.
type Code int32

// The codes. Codes says what each means to a guest.
const (
	OK          Code = 0   // OK is success, and an orderly end.
	Invalid     Code = -1  // Invalid is an argument or a result that makes no sense.
	BadHandle   Code = -2  // BadHandle is a connection that this instance does not have.
	Again       Code = -3  // Again is a full inbox.
	Closed      Code = -4  // Closed is a direction that takes nothing any more.
	Denied      Code = -5  // Denied is what the tenant may not do.
	Quota       Code = -6  // Quota is a limit that is used up.
	NotFound    Code = -7  // NotFound is a thing or a name that does not exist.
	Unsupported Code = -8  // Unsupported is what this host does not do.
	Timeout     Code = -9  // Timeout is a time that ran out.
	Refused     Code = -10 // Refused is a connection that the other side did not accept.
	Unreachable Code = -11 // Unreachable is a peer that the network cannot reach.
	TLS         Code = -12 // TLS is a failed handshake or a broken TLS stream.
	Reset       Code = -13 // Reset is a connection that the peer broke off.
	Conflict    Code = -14 // Conflict is a thing that is not as the caller takes it to be.
)

// CodeDoc is one row of the table of codes.
type CodeDoc struct {
	Code    Code
	Name    string // as in ABI.md and the C header, such as "RESET"
	Meaning string // one or two sentences for the author of a guest
}

// Codes is the table of all codes, from OK downwards: row i is the code -i. It
// must not be changed.
var Codes = []CodeDoc{
	{OK, "OK", "Success; as the reason of a close, an orderly end."},
	{Invalid, "INVALID", "An argument or a result makes no sense: a negative length, a token, key or level that does not exist, a count above what was offered. As the reason of a close: the guest broke the contract."},
	{BadHandle, "BAD_HANDLE", "The connection is not, or is no longer, one of this instance's."},
	{Again, "AGAIN", "The inbox is full and nothing was taken. `csa_writable` says when it has room."},
	{Closed, "CLOSED", "The connection takes no more bytes: the guest has said producerFinished or finish sending, or the peer is gone."},
	{Denied, "DENIED", "The tenant may not do this."},
	{Quota, "QUOTA", "A limit is used up: the tenant's memory, the timers of a handle, the names of its metrics."},
	{NotFound, "NOT_FOUND", "There is no such thing: a name that does not resolve, a file or a key that does not exist."},
	{Unsupported, "UNSUPPORTED", "This version of the host does not do this."},
	{Timeout, "TIMEOUT", "A time limit passed: the idle timeout, the time a closing connection may take to send its last bytes, the time of a connect."},
	{Refused, "REFUSED", "The other side did not accept the connection. A guest that does not want a connection says this from `csa_open`."},
	{Unreachable, "UNREACHABLE", "The network does not reach the peer, or the peer has vanished."},
	{TLS, "TLS", "The TLS handshake failed, or the TLS stream is broken."},
	{Reset, "RESET", "The peer reset the connection."},
	{Conflict, "CONFLICT", "It is not as the guest took it to be: the key has another revision."},
}

// Valid reports whether c is one of the constants.
func (c Code) Valid() bool { return c <= 0 && -int64(c) < int64(len(Codes)) }

// String is the name of the code as in ABI.md, such as "RESET". A value that is
// no code is written as "Code(7)".
func (c Code) String() string {
	if !c.Valid() {
		return "Code(" + strconv.Itoa(int(c)) + ")"
	}
	return Codes[-c].Name
}
