/* What the guests of a benchmark of meters usually are: a loop, calls, and both without an end. */
#include "guest.h"

EXPORT("prepare") void prepare(void)
{
}

/* loop goes round as often as it is told, with three instructions of arithmetic a turn. */
EXPORT("loop") uint32_t loop(uint32_t turns)
{
	uint32_t x = 1;

#pragma clang loop unroll(disable)
	for (; turns; turns--)
		x = x * 1664525u + 1013904223u;
	return x;
}

/* fib calls itself about 1.6 to the n times. */
EXPORT("fib") __attribute__((noinline)) uint32_t fib(uint32_t n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}
