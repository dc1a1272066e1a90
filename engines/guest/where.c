/* Where a script is whose event takes long, for the host to read when it stops the event. */
#include <string.h>

#include "guest.h"

__attribute__((used, visibility("default"))) char bulkhead_where[WHERE_ROOM];

void set_where(const char *text)
{
	char *to = bulkhead_where;
	size_t n = WHERE_ROOM;

	/* One instruction, so that the host never finds half of a text: it stops a guest between two. */
	__asm__ volatile("local.get %0\n\tlocal.get %1\n\tlocal.get %2\n\tmemory.copy 0, 0"
		: : "r"(to), "r"(text), "r"(n) : "memory");
}

void clear_where(void)
{
	if (bulkhead_where[0]) /* else the page need not be the instance's own */
		bulkhead_where[0] = 0;
}
