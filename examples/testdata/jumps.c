// A guest with DWARF that jumps: c is answered with what a longjmp has brought, from a depth; u
// jumps to where nobody is any more; t traps below a setjmp.
#include "../../sdk/c/csa.h"
#include "../../sdk/c/setjmp/setjmp.h"

CSA_DEFINE_WINDOW(window, 4096)

static jmp_buf place;
static volatile int *nowhere = (int *)0xfffffff0u;

__attribute__((noinline)) static int deep(int n, int what)
{
	if (n > 0)
		return deep(n - 1, what) + 1;
	if (what == 't')
		return *nowhere;
	longjmp(place, 7);
}

__attribute__((noinline)) static int guarded(int what)
{
	int came = setjmp(place);
	return came != 0 ? came : deep(3, what);
}

int32_t csa_data(int32_t conn, int32_t len)
{
	if (window[0] == 'u')
		longjmp(place, 1);
	window[0] = (unsigned char)('0' + guarded(window[0]));
	return csa_v1_send(conn, window, 1) == 1 ? len : 0;
}
