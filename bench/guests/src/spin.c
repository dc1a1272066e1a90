/* A handler that never comes back: the first byte that a connection sends keeps it busy for
 * ever. */
#include "../../../sdk/c/csa.h"

CSA_DEFINE_WINDOW(window, 4096)

static volatile uint32_t turns;

int32_t csa_data(int32_t conn, int32_t len)
{
	(void)conn;
	(void)len;
	for (;;)
		turns++;
}
