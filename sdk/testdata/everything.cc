// A handler that has something for each function of the library: what a line says, it does.
#include "csa.hpp"

using csa::Bytes;
using csa::Code;
using csa::Conn;

namespace {

void tell_secured(Conn client, Code status)
{
	csa::Buffer<64> line;
	line << "secured " << csa::name_of(status);
	csa::log(CSA_LOG_INFO, line.bytes());
	(void)client.write(line << "\n");
}

// Whom a client has dialled.
struct Upstream : csa::Connection {
	Conn client;
	bool relay = false;

	Code open();
	// Relays, as soon as what was written to the client is sent.
	Code join()
	{
		Code e = splice(client);
		return e == Code::again ? Code::ok : e; // writable is called
	}
	csa::Result<int32_t> data(Bytes bytes)
	{
		if (Code e = client.write(bytes); e != Code::ok)
			return e;
		return bytes.size();
	}
	void secured(Code status) { tell_secured(client, status); }
	void eof()
	{
		(void)write("over after 0\n");
		close();
	}
	void closed(Code reason)
	{
		csa::Buffer<64> line;
		(void)client.write(line << "upstream " << csa::name_of(reason) << "\n");
	}
};

Code Upstream::open()
{
	uint8_t local[64];
	csa::Buffer<64> line;
	line << "up, from " << (dialled() && info(CSA_INFO_LOCAL, local).empty() ? "true" : "false") << "\n";
	if (Code e = client.write(line); e != Code::ok)
		return e;
	return relay ? join() : Code::ok;
}

// The configuration, by fields and as text.
Code tell_config(Conn c)
{
	static char greeting[8];
	static const csa_field fields[] = {CSA_TEXT_FIELD("greeting", greeting)};
	if (Code e = csa::configure(fields); e != Code::ok)
		return e;
	csa::Memory text(csa_config_text());
	if (Bytes(greeting) != "hi" || !text.data())
		return Code::not_found;
	csa::Buffer<500> line;
	return c.write(line << text.bytes() << "\n");
}

Code tell_peer(Conn c)
{
	uint8_t part[64];
	csa::Buffer<200> line;
	line << c.info(CSA_INFO_PEER, part) << " ";
	line << c.info(CSA_INFO_TRANSPORT, part) << ' ' << c.info(CSA_INFO_CERTIFICATE, part);
	return c.write(line << "\n");
}

// An object of static storage with a constructor and a destructor.
struct Shared {
	int32_t starts = 0;

	Shared() { starts = 1; }
	~Shared() { starts = 0; }
} shared;

Code many(Conn c, int64_t n)
{
	csa::Memory bytes(static_cast<int32_t>(n));
	if (!bytes.data())
		return Code::quota;
	for (int32_t i = 0; i < n; i++)
		bytes.data()[i] = 'x';
	csa::Buffer<64> line;
	if (Code e = c.write(bytes.bytes()); e != Code::ok)
		line << csa::name_of(e);
	return c.write(line << "\n");
}

csa::Kind kind_of(Bytes name)
{
	static const struct {
		const char *name;
		csa::Kind kind;
	} kinds[] = {
		{"u8", csa::prefixed(CSA_U8, 100)},
		{"u16be", csa::prefixed(CSA_U16_BE, 100)},
		{"u16le", csa::prefixed(CSA_U16_LE, 100)},
		{"u32be", csa::prefixed(CSA_U32_BE, 100)},
		{"u32le", csa::prefixed(CSA_U32_LE, 100)},
		{"fixed5", csa::fixed(5)},
		{"until--", csa::until("--", 100)},
	};
	for (auto &k : kinds)
		if (name == k.name)
			return k.kind;
	return csa::lines(100);
}

struct Client : csa::Connection {
	csa::Kind kind = csa::lines(100);
	int32_t lines = 0;
	csa::Owned upstream;
	csa::Timer soon{*this, 1};
	bool relay = false;

	Code open() { return write("hello\n"); }

	csa::Result<int32_t> data(Bytes bytes)
	{
		csa::Messages messages(bytes, kind);
		while (messages.next()) {
			Code e = kind.what == csa::Kind::is_line ? hear(messages.message()) : hear_frame(messages.message());
			if (e != Code::ok)
				return e;
			if (messages.message() == "tls" || relay)
				break; // what comes next is of the handshake, or the upstream's
			messages.change(kind);
		}
		return messages.used();
	}

	Code hear_frame(Bytes message)
	{
		csa::Buffer<110> line;
		if (message != "lines")
			return write(line << "[" << message << "]\n");
		kind = csa::lines(100);
		return write("lines\n");
	}

	Code dial(Bytes address, bool relays)
	{
		csa::Buffer<101> text;
		auto dialled = csa::dial<Upstream>(reinterpret_cast<const char *>((text << address << '\0').bytes().data()));
		if (!dialled)
			return dialled.code();
		dialled->client = *this;
		dialled->relay = relay = relays;
		upstream = csa::Owned(**dialled);
		return Code::ok;
	}

	Code hear(Bytes line)
	{
		Bytes word = line.before(' '), rest = line.behind(' ');
		int32_t n = static_cast<int32_t>(*rest.number());
		csa::Buffer<200> answer;

		lines += shared.starts;
		if (word == "config")
			return tell_config(*this);
		if (word == "peer")
			return tell_peer(*this);
		if (word == "lines")
			return write(answer << lines << "\n");
		if (word == "timer")
			return soon.start(n);
		if (word == "clear")
			soon.stop();
		else if (word == "log")
			csa::log(CSA_LOG_WARN, rest);
		else if (word == "count")
			return csa::count(rest, 2);
		else if (word == "clock")
			return write(csa_v1_clock(CSA_CLOCK_WALL) > csa_v1_clock(CSA_CLOCK_MONOTONIC) ? "true\n" : "false\n");
		else if (word == "random") {
			uint8_t a[32] = {};
			int any = 0;
			csa_v1_random(a, sizeof a);
			for (uint8_t b : a)
				any |= b;
			return write(any ? "true\n" : "false\n");
		} else if (word == "many")
			return many(*this, n);
		else if (word == "limit")
			set_write_limit(n);
		else if (word == "frames")
			kind = kind_of(rest);
		else if (word == "want")
			return want(n);
		else if (word == "pause") {
			pause();
			return set_timer(2, n);
		} else if (word == "tls")
			return make_tls_server();
		else if (word == "dial" || word == "relay")
			return dial(rest, word == "relay");
		else if (word == "up")
			return upstream.get().write(answer << rest << "\n");
		else if (word == "upgrade")
			return upstream.get().make_tls_client(rest);
		else if (word == "half")
			finish_sending();
		else if (word == "abort")
			abort();
		else if (word == "refuse")
			return Code::refused;
		else if (word == "panic")
			CSA_PANIC(reinterpret_cast<const char *>((answer << "it was told to: " << rest << '\0').bytes().data()));
		else if (word == "quit")
			close();
		else
			return write("?\n");
		return Code::ok;
	}

	void writable()
	{
		Upstream *u = upstream.get().as<Upstream>();
		if (relay && u && u->join() != Code::ok)
			abort();
	}

	void secured(Code status) { tell_secured(*this, status); }

	void eof()
	{
		csa::Buffer<40> line;
		(void)write(line << "over after " << lines << "\n");
		close();
	}

	void timer(int32_t token)
	{
		csa::Buffer<40> line;
		if (token == 2) {
			resume();
			(void)write("resumed\n");
		} else {
			(void)write(line << "timer " << token << "\n");
		}
	}

	static void instance_timer(int32_t token)
	{
		csa::Buffer<40> line;
		csa::log(CSA_LOG_INFO, (line << "instance timer " << token).bytes());
	}
};

} // namespace

CSA_SERVE_CLASS(Client, 65536)

int32_t csa_start(void) { return csa_v1_timer(-1, 7, 60000); }
