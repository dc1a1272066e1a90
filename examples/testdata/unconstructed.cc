// The counters of statics.cc in a handler whose constructors nothing calls, so that the
// linker has each callback call them. Each message is answered with 1 and 1, 2 and 2,
// and so on, if they run once.
//
// With DESTRUCTORS each callback also calls destructors, as with a C library. With
// INITIALIZE there is an _initialize, which has to find what the constructors have made.
#include "../../sdk/c/csa.h"

namespace {

uint8_t window[4096];

struct Counter {
	int n;
	Counter() { n = csa_v1_clock(CSA_CLOCK_MONOTONIC) == 0 ? 1 : 0; }
} counter;

#ifdef INITIALIZE
int other = 6;
#else
int other = 7;
#endif

__attribute__((constructor)) void prepare() { other -= 7; }

} // namespace

#ifdef INITIALIZE
extern "C" __attribute__((export_name("_initialize"))) void initialize()
{
	if (counter.n == 0 && other == -1)
		other = 0;
}
#endif

#ifdef DESTRUCTORS
extern "C" void __wasm_call_dtors()
{
	counter.n = 5;
}
#endif

int64_t csa_window(void)
{
	return static_cast<int64_t>(static_cast<uint64_t>(reinterpret_cast<uintptr_t>(window)) << 32 | sizeof window);
}

int32_t csa_data(int32_t conn, int32_t len)
{
	char answer[] = {static_cast<char>('0' + ++counter.n), static_cast<char>('0' + ++other), '\n'};
	int32_t taken = csa_v1_send(conn, answer, sizeof answer);

	return taken < 0 ? taken : len;
}
