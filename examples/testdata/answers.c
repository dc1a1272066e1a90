/* Answers each thousand bytes with a thousand of its own, which begin with their number,
 * whatever the inbox has room for. */
#include "../../sdk/c/csa.h"

CSA_DEFINE_WINDOW(window, 65536)
CSA_DEFINE_QUEUE(queue, 1500)

static uint8_t answer[1000];
static uint32_t number;

int32_t csa_data(int32_t conn, int32_t len)
{
	static const char waits[] = "waits", full[] = "full";
	int32_t n = 0;

	while (len - n >= 1000) {
		int32_t e;

		for (int i = 0; i < 4; i++)
			answer[i] = (uint8_t)(number >> 8 * i);
		e = csa_write(&queue, conn, answer, sizeof answer);
		if (e == CSA_AGAIN) {
			csa_v1_count(full, sizeof full - 1, 1);
			break;
		}
		if (e < 0)
			return e;
		if (queue.len > 0)
			csa_v1_count(waits, sizeof waits - 1, 1);
		number++;
		n += 1000;
	}
	return n;
}

void csa_writable(int32_t conn) { csa_flush(&queue, conn); }

void csa_eof(int32_t conn)
{
	int32_t e = csa_write(&queue, conn, "over", 4);

	if (e < 0)
		csa_v1_control(conn, CSA_SHUTDOWN_MICROPROCESS);
	else
		csa_finish(&queue, conn, CSA_PRODUCER_FINISHED);
}
