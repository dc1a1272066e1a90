// csa.hpp: handlers in C++17 and later: an object for each connection, which is made when the
// connection comes and destroyed when it is over. It needs no C++ library and no exceptions, and
// goes with both.
//
//     #include "csa.hpp"
//
//     struct Client : csa::Connection {
//         int32_t lines = 0;
//
//         csa::Code open() { return write("hello\n"); }
//
//         csa::Result<int32_t> data(csa::Bytes bytes)
//         {
//             csa::Messages messages(bytes, csa::lines(1000));
//             while (messages.next()) {
//                 csa::Buffer<1100> answer;
//                 answer << ++lines << ": " << messages.message() << "\n";
//                 if (csa::Code e = write(answer); e != csa::Code::ok)
//                     return e;
//             }
//             return messages.used();
//         }
//     };
//     CSA_SERVE_CLASS(Client, 65536)
//
// csa_start, csa_reseed and csa_stop are the guest's own functions, where it wants them.
#ifndef CSA_HPP
#define CSA_HPP

#include "csa_config.h"
#include "csa_handler.h"

namespace csa {

// How something has gone: the codes of csa.h. A result that nobody looks at is warned of.
enum class [[nodiscard]] Code : int32_t {
	ok = CSA_OK,
	invalid = CSA_INVALID,
	bad_handle = CSA_BAD_HANDLE,
	again = CSA_AGAIN,
	closed = CSA_CLOSED,
	denied = CSA_DENIED,
	quota = CSA_QUOTA,
	not_found = CSA_NOT_FOUND,
	unsupported = CSA_UNSUPPORTED,
	timeout = CSA_TIMEOUT,
	refused = CSA_REFUSED,
	unreachable = CSA_UNREACHABLE,
	tls = CSA_TLS,
	reset = CSA_RESET,
	conflict = CSA_CONFLICT,
};

// The code of a result of csa.h: ok unless it is below 0.
inline Code code_of(int32_t result) { return result < 0 ? static_cast<Code>(result) : Code::ok; }

inline const char *name_of(Code code) { return csa_name_of(static_cast<int32_t>(code)); }

// A value, or the code of why there is none.
template <typename T> class [[nodiscard]] Result {
	T held;
	Code why;

public:
	Result(T value) : held(value), why(Code::ok) {}
	Result(Code code) : held(), why(code) {}
	// Whether there is a value.
	explicit operator bool() const { return why == Code::ok; }
	Code code() const { return why; }
	// The value; T() where there is none.
	const T &operator*() const { return held; }
	const T &operator->() const { return held; }
};

// Some bytes that are somewhere else. It owns nothing: bytes of the window are there until data
// returns.
class Bytes {
	const uint8_t *first_byte = nullptr;
	int32_t count = 0;

public:
	constexpr Bytes() = default;
	constexpr Bytes(const uint8_t *at, int32_t len) : first_byte(at), count(len) {}
	Bytes(csa_bytes b) : first_byte(b.at), count(b.len) {}
	// A text that ends with a zero byte, without that.
	Bytes(const char *text) : Bytes(csa_text(text)) {}

	const uint8_t *data() const { return first_byte; }
	int32_t size() const { return count; }
	bool empty() const { return count == 0; }
	const uint8_t *begin() const { return first_byte; }
	const uint8_t *end() const { return first_byte + count; }
	// The byte at a place, which has to be there.
	uint8_t operator[](int32_t i) const { return first_byte[i]; }
	// The first n, or all where there are fewer; and those behind them.
	Bytes first(int32_t n) const { return Bytes(first_byte, n < 0 ? 0 : n < count ? n : count); }
	Bytes from(int32_t n) const { return Bytes(first_byte + first(n).count, count - first(n).count); }
	// What stands before the first byte that is mark, or all; and what stands behind it.
	Bytes before(char mark) const
	{
		csa_bytes head, tail;
		csa_cut(*this, static_cast<uint8_t>(mark), &head, &tail);
		return head;
	}
	Bytes behind(char mark) const { return from(before(mark).count + 1); }
	// The number that is all of it, in decimal digits.
	Result<int64_t> number() const
	{
		int64_t n = 0;
		if (csa_number(*this, &n) < 0)
			return Code::invalid;
		return n;
	}
	operator csa_bytes() const { return csa_bytes{first_byte, count}; }
	friend bool operator==(Bytes a, Bytes b)
	{
		if (a.count != b.count)
			return false;
		for (int32_t i = 0; i < a.count; i++)
			if (a.first_byte[i] != b.first_byte[i])
				return false;
		return true;
	}
	friend bool operator!=(Bytes a, Bytes b) { return !(a == b); }
};

// --- Framing -------------------------------------------------------------------------------------

// How messages are told apart in a stream of bytes, and how long one may be.
struct Kind {
	enum { is_line, is_until, is_prefixed, is_fixed } what;
	int32_t most;
	const char *delimiter;
	csa_prefix prefix;
};

// Lines, without the line feed that ends one, nor a carriage return before that.
inline Kind lines(int32_t most) { return {Kind::is_line, most, "", CSA_U8}; }
// What stands before a delimiter, which is a text that ends with a zero byte.
inline Kind until(const char *delimiter, int32_t most) { return {Kind::is_until, most, delimiter, CSA_U8}; }
// Messages with their length in front.
inline Kind prefixed(csa_prefix prefix, int32_t most) { return {Kind::is_prefixed, most, "", prefix}; }
// Messages of so many bytes.
inline Kind fixed(int32_t size) { return {Kind::is_fixed, size, "", CSA_U8}; }

// The messages in what data was given.
class Messages {
	Bytes rest, found;
	Kind kind;
	int32_t taken = 0;
	Code why = Code::ok;

public:
	Messages(Bytes bytes, Kind kind) : rest(bytes), kind(kind) {}

	// Goes to the next message: false when the next one is not all there, or is too long.
	bool next()
	{
		csa_bytes m = {nullptr, 0};
		int32_t n;
		switch (kind.what) {
		case Kind::is_line:
			n = csa_line(rest.data(), rest.size(), kind.most, &m);
			break;
		case Kind::is_until:
			n = csa_until(rest.data(), rest.size(), kind.delimiter, csa_length(kind.delimiter), kind.most, &m);
			break;
		case Kind::is_prefixed:
			n = csa_prefixed(rest.data(), rest.size(), kind.prefix, kind.most, &m);
			break;
		default:
			n = csa_fixed(rest.data(), rest.size(), kind.most, &m);
		}
		why = code_of(n);
		if (n <= 0)
			return false;
		found = m;
		taken += n;
		rest = rest.from(n);
		return true;
	}
	// What next has found.
	Bytes message() const { return found; }
	// Has next look for another kind from here on.
	void change(Kind other) { kind = other; }
	// What data returns: how many bytes the messages take up that next has found, or invalid
	// behind one that is too long.
	Result<int32_t> used() const
	{
		if (why != Code::ok)
			return why;
		return taken;
	}
};

// --- Binary messages -----------------------------------------------------------------------------

// Takes numbers and bytes from the front of a message. What is not there reads as zeros, and failed
// says so: one look at it behind the last one is enough.
class Reader {
	csa_reader r;

public:
	explicit Reader(Bytes message) : r(csa_read(message)) {}

	uint8_t u8() { return csa_get_u8(&r); }
	uint16_t u16be() { return csa_get_u16be(&r); }
	uint16_t u16le() { return csa_get_u16le(&r); }
	uint32_t u32be() { return csa_get_u32be(&r); }
	uint32_t u32le() { return csa_get_u32le(&r); }
	uint64_t u64be() { return csa_get_u64be(&r); }
	uint64_t u64le() { return csa_get_u64le(&r); }
	Bytes bytes(int32_t len) { return csa_get_bytes(&r, len); }
	// How many bytes follow.
	int32_t left() const { return r.left; }
	bool failed() const { return r.failed != 0; }
};

// Puts numbers, bytes and texts one behind another. What has no room is left out, with all that
// follows, and failed says so. Buffer has the memory.
class Writer {
	csa_writer w;

protected:
	Writer(uint8_t *memory, int32_t size) : w(csa_into(memory, size)) {}

public:
	Writer(const Writer &) = delete;
	Writer &operator=(const Writer &) = delete;

	Writer &operator<<(Bytes b) { return csa_put_bytes(&w, b), *this; }
	Writer &operator<<(const char *text) { return csa_put_text(&w, text), *this; }
	Writer &operator<<(char c) { return csa_put(&w, &c, 1), *this; }
	// In decimal digits.
	Writer &operator<<(int n) { return *this << static_cast<long long>(n); }
	Writer &operator<<(long n) { return *this << static_cast<long long>(n); }
	Writer &operator<<(long long n) { return csa_put_decimal(&w, n), *this; }
	Writer &operator<<(unsigned n) { return *this << static_cast<unsigned long long>(n); }
	Writer &operator<<(unsigned long n) { return *this << static_cast<unsigned long long>(n); }
	Writer &operator<<(unsigned long long n) { return csa_put_padded(&w, n, 1), *this; }
	// In decimal digits, with zeros before it until there are so many.
	Writer &padded(uint64_t n, int32_t digits) { return csa_put_padded(&w, n, digits), *this; }
	// As hex digits, two for each byte.
	Writer &hex(Bytes b) { return csa_put_hex(&w, b.data(), b.size()), *this; }
	Writer &u8(uint8_t n) { return csa_put_u8(&w, n), *this; }
	Writer &u16be(uint16_t n) { return csa_put_u16be(&w, n), *this; }
	Writer &u16le(uint16_t n) { return csa_put_u16le(&w, n), *this; }
	Writer &u32be(uint32_t n) { return csa_put_u32be(&w, n), *this; }
	Writer &u32le(uint32_t n) { return csa_put_u32le(&w, n), *this; }
	Writer &u64be(uint64_t n) { return csa_put_u64be(&w, n), *this; }
	Writer &u64le(uint64_t n) { return csa_put_u64le(&w, n), *this; }
	// What is written, which is there as long as the writer.
	Bytes bytes() const { return Bytes(w.bytes, w.len); }
	bool failed() const { return w.failed != 0; }
	void clear() { w.len = w.failed = 0; }
};

// A writer with room for so many bytes.
template <int32_t size> class Buffer : public Writer {
	uint8_t memory[size];

public:
	Buffer() : Writer(memory, size) {}
};

// --- Connections ---------------------------------------------------------------------------------

template <typename T> struct Table;

// A connection: a number by which the host knows it. It may be kept and copied. Once the connection
// is over, its functions answer bad_handle or do nothing.
class Conn {
	int32_t number;

public:
	explicit Conn(int32_t handle = 0) : number(handle) {}

	int32_t handle() const { return number; }
	friend bool operator==(Conn a, Conn b) { return a.number == b.number; }
	friend bool operator!=(Conn a, Conn b) { return a.number != b.number; }
	// Whether dial has made it.
	bool dialled() const { return csa_conn_dialled(number) != 0; }
	// The connection's object, if that is a T; nullptr when it is over. It is there until its
	// closed has returned.
	template <typename T> T *as() const
	{
		csa_kept *k = csa_kept_of(number);
		return k && k->handler == &Table<T>::handler ? reinterpret_cast<T *>(k + 1) : nullptr;
	}

	// Sends all of the bytes: csa_conn_write. Over UDP and WebSocket they stay one message.
	Code write(Bytes b) const { return code_of(csa_conn_write(number, b.data(), b.size())); }
	// Sends what a writer has, or nothing and quota where that had no room for all of it.
	Code write(const Writer &w) const { return w.failed() ? Code::quota : write(w.bytes()); }
	// Sends what the inbox has room for, and answers how much that was: csa_v1_send. The other
	// bytes are the caller's. Not while something is queued.
	Result<int32_t> send(Bytes b) const
	{
		int32_t n = csa_v1_send(number, b.data(), b.size());
		if (n < 0)
			return code_of(n);
		return n;
	}
	// How many bytes write has queued and the inbox has not taken yet, and how many it queues at
	// most; 0 is CSA_WRITE_LIMIT.
	int32_t queued() const { return csa_conn_queued(number); }
	void set_write_limit(int32_t bytes) const { csa_conn_set_write_limit(number, bytes); }

	// Sends what is queued, and then closes the connection.
	void close() const { csa_conn_close(number); }
	// Sends what is queued, and then tells the peer that no more comes. Receiving goes on.
	void finish_sending() const { csa_conn_finish_sending(number); }
	// Closes the connection now, and drops what is not sent yet.
	void abort() const { csa_conn_abort(number); }

	// Makes the peer wait: no bytes come until resume, which has those that were left come first.
	void pause() const { csa_v1_receive(number, 0); }
	void resume() const { csa_v1_receive(number, 1); }
	// Has no data come before so many bytes are there, or the peer has finished.
	Code want(int32_t bytes) const { return code_of(csa_v1_want(number, bytes)); }

	// Has timer called once, with the token. A timer with the same token is moved.
	Code set_timer(int32_t token, int32_t milliseconds) const { return code_of(csa_v1_timer(number, token, milliseconds < 0 ? 0 : milliseconds)); }
	void clear_timer(int32_t token) const { csa_v1_timer(number, token, -1); }

	// Starts TLS with the peer as its client. In data, return right after it.
	Code make_tls_server() const { return code_of(csa_v1_makessl(number, CSA_TLS_SERVER, nullptr, 0)); }
	// Starts TLS with the peer as its server, whose certificate must have the name.
	Code make_tls_client(Bytes name) const { return code_of(csa_v1_makessl(number, CSA_TLS_CLIENT, name.data(), name.size())); }
	// Has the host relay all bytes between two connections from here on: csa_conn_splice. Their
	// objects are destroyed after this callback.
	Code splice(Conn other) const { return code_of(csa_conn_splice(number, other.number)); }

	// Puts what is known of the connection under a key, CSA_INFO_PEER and so on, into an array,
	// and returns where it is. What has no room is cut off.
	template <int32_t n> Bytes info(int32_t key, uint8_t (&buffer)[n]) const { return csa_conn_info(number, key, buffer, n); }
};

namespace detail {
struct Place {
	void *at;
};
inline int32_t making; // the connection whose object is made
} // namespace detail

// What the class of a kind of connections has as its base. It defines those of these functions that
// it wants, and data:
//
//     csa::Result<int32_t> data(csa::Bytes bytes)
//
// which returns how many bytes have been used. The others come again, with more. A code other than
// ok and again closes the connection. data is not called while something is queued.
class Connection : public Conn {
protected:
	Connection() : Conn(detail::making) {}

public:
	Connection(const Connection &) = delete;
	Connection &operator=(const Connection &) = delete;

	// The connection is up. A code other than ok closes it.
	Code open() { return Code::ok; }
	// All that was queued is sent.
	void writable() {}
	// The handshake that make_tls_server or make_tls_client has started is over.
	void secured(Code) {}
	// The peer has finished sending.
	void eof() { close(); }
	// It is over. For one that was dialled it may be the first that is called.
	void closed(Code) {}
	// A timer of the connection has fired.
	void timer(int32_t) {}
	// One of the instance itself, set with csa_v1_timer(-1, ...), has fired.
	static void instance_timer(int32_t) {}
};

} // namespace csa

inline void *operator new(__SIZE_TYPE__, csa::detail::Place place) noexcept { return place.at; }
inline void operator delete(void *, csa::detail::Place) noexcept {}

namespace csa {

// The functions of a class, as csa_handler.h wants them.
template <typename T> struct Table {
	static_assert(alignof(T) <= 8, "the memory of a connection is on a boundary of 8");

	static T *of(void *state) { return static_cast<T *>(state); }
	static void init(int32_t conn, void *state)
	{
		detail::making = conn;
		new (detail::Place{state}) T();
	}
	static void release(int32_t, void *state) { of(state)->~T(); }
	static int32_t open(int32_t, void *state) { return static_cast<int32_t>(of(state)->open()); }
	static int32_t data(int32_t, void *state, const uint8_t *bytes, int32_t len)
	{
		Result<int32_t> r = of(state)->data(Bytes(bytes, len));
		return r ? *r : static_cast<int32_t>(r.code());
	}
	static void writable(int32_t, void *state) { of(state)->writable(); }
	static void secured(int32_t, void *state, int32_t status) { of(state)->secured(code_of(status)); }
	static void eof(int32_t, void *state) { of(state)->eof(); }
	static void closed(int32_t, void *state, int32_t reason) { of(state)->closed(code_of(reason)); }
	static void timer(int32_t, void *state, int32_t token) { of(state)->timer(token); }
	static void instance_timer(int32_t token) { T::instance_timer(token); }

	static constexpr csa_handler handler = {
		static_cast<int32_t>(sizeof(T)), init, release, open, data, writable, secured, eof, closed, timer, instance_timer,
	};
};

// Starts to dial an address that the tenant may: csa_dial. Its object is made at once. What is
// written before it is up waits.
template <typename T> Result<T *> dial(const char *address)
{
	int32_t conn = csa_dial(address, &Table<T>::handler);
	if (conn < 0)
		return code_of(conn);
	return Conn(conn).as<T>();
}

// A connection that goes away with its owner: when this is destroyed, or takes another, what is
// queued is sent, and then the connection is closed.
class Owned {
	Conn held;

public:
	Owned() = default;
	explicit Owned(Conn c) : held(c) {}
	Owned(Owned &&other) noexcept : held(other.release()) {}
	Owned &operator=(Owned &&other) noexcept
	{
		Conn c = other.release();
		if (held.handle() > 0 && held != c)
			held.close();
		held = c;
		return *this;
	}
	~Owned()
	{
		if (held.handle() > 0)
			held.close();
	}
	Conn get() const { return held; }
	explicit operator bool() const { return held.handle() > 0; }
	// Gives the connection up, which stays.
	Conn release()
	{
		Conn c = held;
		held = Conn();
		return c;
	}
};

// A timer that goes away with its owner.
class Timer {
	Conn conn;
	int32_t token;

public:
	// Conn(-1) is the instance itself.
	Timer(Conn c, int32_t token) : conn(c), token(token) {}
	Timer(const Timer &) = delete;
	Timer &operator=(const Timer &) = delete;
	~Timer() { stop(); }
	Code start(int32_t milliseconds) const { return conn.set_timer(token, milliseconds); }
	void stop() const { conn.clear_timer(token); }
};

// Memory of csa_alloc that goes away with its owner. data is nullptr where there was none.
class Memory {
	uint8_t *at;
	int32_t count;

public:
	explicit Memory(int32_t size) : at(static_cast<uint8_t *>(csa_alloc(size))), count(at ? size : 0) {}
	// Takes bytes of csa_alloc over.
	explicit Memory(csa_bytes b) : at(const_cast<uint8_t *>(b.at)), count(b.len) {}
	Memory(Memory &&other) noexcept : at(other.at), count(other.count)
	{
		other.at = nullptr;
		other.count = 0;
	}
	Memory &operator=(Memory &&) = delete;
	~Memory() { csa_free(at); }
	uint8_t *data() const { return at; }
	Bytes bytes() const { return Bytes(at, count); }
};

// Reads the configuration into fields: csa_configure.
template <int32_t n> Code configure(const csa_field (&fields)[n]) { return code_of(csa_configure(fields, n)); }

inline void log(int32_t level, Bytes text) { csa_v1_log(level, text.data(), text.size()); }
// Adds n to a count of the tenant's.
inline Code count(Bytes name, int64_t n = 1) { return code_of(csa_v1_count(name.data(), name.size(), n)); }

} // namespace csa

// Has a class serve the connections that are accepted, with a window of so many bytes. For the top
// level of one source file.
#define CSA_SERVE_CLASS(name, length) CSA_SERVE(csa::Table<name>::handler, length)

// --- What the compiler wants ---------------------------------------------------------------------

// Those of a C++ library take their place where one is linked before them.

#define CSA_WEAK __attribute__((weak))

CSA_WEAK void *operator new(__SIZE_TYPE__ n)
{
	void *p = csa_alloc(n > INT32_MAX ? -1 : static_cast<int32_t>(n));
	if (!p)
		CSA_PANIC("operator new: the tenant has no memory left");
	return p;
}
CSA_WEAK void *operator new[](__SIZE_TYPE__ n) { return operator new(n); }
CSA_WEAK void operator delete(void *p) noexcept { csa_free(p); }
CSA_WEAK void operator delete[](void *p) noexcept { csa_free(p); }
CSA_WEAK void operator delete(void *p, __SIZE_TYPE__) noexcept { csa_free(p); }
CSA_WEAK void operator delete[](void *p, __SIZE_TYPE__) noexcept { csa_free(p); }

extern "C" {
// No code runs when a handler ends.
CSA_WEAK int __cxa_atexit(void (*)(void *), void *, void *) { return 0; }
CSA_WEAK void __cxa_pure_virtual(void) { CSA_PANIC("a function was called that only a class below has"); }
// A guest has one thread.
CSA_WEAK int __cxa_guard_acquire(uint64_t *guard) { return *reinterpret_cast<uint8_t *>(guard) == 0; }
CSA_WEAK void __cxa_guard_release(uint64_t *guard) { *reinterpret_cast<uint8_t *>(guard) = 1; }
}

#endif
