/* An echo server, whole: RFC 862 over whatever the listener listens on.
 *
 * What comes is sent back straight from the window. Of what the inbox does not
 * take, nothing is consumed: the host offers it again when there is room, and
 * meanwhile does not read on, so a peer that does not read is held back.
 * There is no csa_eof: the host flushes and closes when the peer has finished.
 */
#include "../../sdk/c/csa.h"

CSA_DEFINE_WINDOW(window, 65536)

int32_t csa_data(int32_t conn, int32_t len)
{
	int32_t taken = csa_v1_send(conn, window, len);

	return taken == CSA_AGAIN ? 0 : taken;
}
