// A guest in C++ that throws and catches. Each message is answered with what came of it, and with
// how many of its objects are alive then.
#include "../../../sdk/c/csa.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

CSA_DEFINE_WINDOW(window, 4096)

namespace {

int alive;

struct Part {
	Part() { alive++; }
	~Part() { alive--; }
};

struct Broken : std::runtime_error {
	using std::runtime_error::runtime_error;
};

int number(const std::string &text)
{
	Part part;
	return std::stoi(text); // throws std::invalid_argument or std::out_of_range, in the library
}

std::string deep(int n, const std::string &text)
{
	auto part = std::make_unique<Part>();
	return n > 0 ? deep(n - 1, text) + "." : std::to_string(number(text));
}

std::string rethrown(const std::string &text)
{
	try {
		throw Broken(text);
	} catch (const std::exception &) {
		Part part;
		throw;
	}
}

std::string answer(const std::string &line)
{
	Part part;
	const std::string rest = line.substr(1);
	try {
		switch (line[0]) {
		case 'n': return std::to_string(number(rest));
		case 'd': return deep(20, rest);
		case 'v': return std::to_string(std::vector<int>{10, 11, 12}.at(number(rest)));
		case 's': return std::string("abc").substr(number(rest));
		case 'r': return rethrown(rest);
		case 'i': throw number(rest);
		case 'u': throw std::string("nobody catches this");
		case 'x': [&]() noexcept { number(rest); }(); // ends in std::terminate
		}
	} catch (const Broken &e) {
		return std::string("Broken ") + e.what();
	} catch (const std::invalid_argument &e) {
		return std::string("invalid_argument ") + e.what();
	} catch (const std::out_of_range &e) {
		return std::string("out_of_range ") + e.what();
	} catch (int i) {
		return "int " + std::to_string(i);
	}
	return "?";
}

} // namespace

int32_t csa_data(int32_t conn, int32_t len)
{
	std::string said = answer(std::string(reinterpret_cast<char *>(window), len));
	said += " (" + std::to_string(alive) + ")\n";
	return csa_v1_send(conn, said.data(), static_cast<int32_t>(said.size())) < 0 ? 0 : len;
}
