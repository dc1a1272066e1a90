// A counter that a constructor sets up, and one that a function with the attribute
// "constructor" does. Each message is answered with both: 1 and 1, 2 and 2, and so on.
#include "../../sdk/c/csa.h"

CSA_DEFINE_WINDOW(window, 4096)

namespace {

struct Counter {
	int n;
	Counter() { n = csa_v1_clock(CSA_CLOCK_MONOTONIC) == 0 ? 1 : 0; }
} counter;

int other = 7;

__attribute__((constructor)) void prepare() { other -= 7; }

} // namespace

int32_t csa_data(int32_t conn, int32_t len)
{
	char answer[] = {static_cast<char>('0' + ++counter.n), static_cast<char>('0' + ++other), '\n'};
	int32_t taken = csa_v1_send(conn, answer, sizeof answer);

	return taken < 0 ? taken : len;
}
