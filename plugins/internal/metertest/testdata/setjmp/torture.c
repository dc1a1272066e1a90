// Random programs of nested setjmp and longjmp: run(seed) is a hash of what one has done. build.sh
// makes modules of it, and writes what clang's native code says.
#ifdef NATIVE
#include <setjmp.h>
#include <stdio.h>
#else
#include <setjmp.h>
#endif

enum { LEVELS = 24, SLOTS = 64 };

static unsigned random_state, hash;
static jmp_buf *slots[SLOTS];
static int used;
static int work;

static unsigned next(void) { return (random_state = random_state * 1103515245u + 12345u) >> 16; }

static void note(unsigned v) { hash = (hash ^ v) * 16777619u; }

static double numbers(int n, double x, long long y);

typedef double (*function)(int, double, long long);
static function volatile indirect = numbers;

// numbers has values of all types alive over calls that may not return.
static double numbers(int n, double x, long long y) {
	float f = (float)(x / 2);
	if (n == 0 || ++work > 400) {
		if (used > 0 && next() % 3 == 0)
			longjmp(*slots[next() % (unsigned)used], (int)(next() % 5));
		return x + 1;
	}
	for (unsigned i = next() % 3; i > 0; i--) {
		y = y * 3 + n;
		x += next() % 2 ? indirect(n - 1, x + f, y) : numbers(n - 1, f, y ^ 5);
	}
	note((unsigned)(y >> 7) ^ (unsigned)(int)f);
	return x / 3 + f;
}

// tries has places to jump to, some of which are tried again, and some within others.
static unsigned tries(int level) {
	jmp_buf here, other;
	volatile unsigned sum = (unsigned)level;
	volatile int again = 0;
	int mine = used;
	slots[used++] = &here;
	int r = setjmp(here);
	used = mine + 1;
	note((unsigned)r);
	if (r != 0 && again++ > 3) {
		used = mine;
		return sum;
	}
	if (r != 0 && mine > 0 && next() % 4 == 0) {
		used = mine;
		longjmp(*slots[next() % (unsigned)mine], r);
	}
	switch (next() % 4) {
	case 0:
		slots[used++] = &other;
		if ((r = setjmp(other)) == 0) {
			sum += (unsigned)(int)numbers(4, level, level * 1000000007LL);
		} else {
			sum = sum * 7 + (unsigned)r;
		}
		used = mine + 1;
		break;
	case 1:
		sum += (unsigned)(int)indirect(3, sum, -1);
		break;
	}
	for (unsigned i = next() % 3; i > 0 && level < LEVELS && ++work < 400; i--)
		sum = sum * 31 + tries(level + 1);
	used = mine;
	return sum;
}

#ifndef NATIVE
__attribute__((export_name("run")))
#endif
unsigned run(unsigned seed) {
	random_state = seed;
	hash = 2166136261u;
	work = used = 0;
	unsigned sum = tries(0);
	note(sum);
	return hash;
}

#ifdef NATIVE
int main(void) {
	for (unsigned seed = 0; seed < 2000; seed++)
		printf("%u\n", run(seed * 2654435761u));
}
#else
// nothing catches what this throws.
__attribute__((export_name("lost"))) void lost(void) {
	static jmp_buf gone;
	longjmp(gone, 1);
}
#endif
