// A guest with DWARF that traps in a function that is inlined, called by one that is not. A
// line that begins with G is a path; a b in it is looked up in a table that is not there.
#include "../../sdk/c/csa.h"

CSA_DEFINE_WINDOW(window, 4096)

struct table {
	int n;
	int *cells;
};

static inline int lookup(struct table *t, int i)
{
	return t->cells[i];
}

__attribute__((noinline)) static int route(const char *path, int len)
{
	struct table t = {len, (int *)0xfffffff0u};
	for (int i = 0; i < len; i++)
		if (path[i] == 'b')
			return lookup(&t, i);
	return 0;
}

int32_t csa_data(int32_t conn, int32_t len)
{
	if (len > 4 && window[0] == 'G')
		return route((char *)window + 4, len - 4);
	return csa_v1_send(conn, window, len);
}

// With any config it traps when it starts.
int32_t csa_start(void)
{
	int32_t n = csa_v1_config(window, sizeof window);
	return n > 2 ? route((char *)window, n) + route("b", 1) : 0;
}
