/* Relays every connection to the address that its config is: {"to":"tcp://..."} and nothing
 * else. */
#include "../../../sdk/c/csa.h"

CSA_DEFINE_WINDOW(window, 4096)

static char config[256];
static int32_t length; /* of the address, which begins behind {"to":" */
static int32_t client;

#define BEFORE 7
#define BEHIND 2

int32_t csa_start(void)
{
	length = csa_v1_config(config, sizeof config) - BEFORE - BEHIND;
	return length > 0 ? CSA_OK : CSA_INVALID;
}

int32_t csa_open(int32_t conn)
{
	if (client) /* this one is the upstream */
		return csa_v1_splice(client, conn);
	client = conn;
	csa_v1_receive(conn, 0); /* what comes is not for us */
	int32_t upstream = csa_v1_connect(config + BEFORE, length);
	return upstream < 0 ? upstream : CSA_OK;
}

int32_t csa_data(int32_t conn, int32_t len)
{
	(void)conn;
	(void)len;
	return 0;
}
