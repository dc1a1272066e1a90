/* The table of connections, their queues of unsent bytes, and what they read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

char problem[256];

/* --- The table ----------------------------------------------------------------- */

static struct link **buckets;
static uint32_t bucket_count, links; /* the first is a power of two */

static struct link **bucket(int32_t handle)
{
	return &buckets[(uint32_t)handle * 2654435761u >> 7 & (bucket_count - 1)];
}

struct link *find_link(int32_t handle)
{
	struct link *l;

	if (bucket_count == 0)
		return NULL;
	for (l = *bucket(handle); l && l->handle != handle; l = l->next)
		;
	return l;
}

static bool grow_table(void)
{
	struct link **old = buckets, *l, *next;
	uint32_t i, n = bucket_count;

	if (links < bucket_count)
		return true;
	buckets = calloc(n ? 2 * n : 4, sizeof *buckets);
	if (!buckets) {
		buckets = old;
		return n > 0;
	}
	bucket_count = n ? 2 * n : 4;
	for (i = 0; i < n; i++)
		for (l = old[i]; l; l = next) {
			next = l->next;
			l->next = *bucket(l->handle);
			*bucket(l->handle) = l;
		}
	free(old);
	return true;
}

static void learn_peer(struct link *l)
{
	char peer[256];
	int32_t n = csa_v1_info(l->handle, CSA_INFO_PEER, peer, sizeof peer);

	if (n <= 0)
		return;
	/* The path of a socket may be as long as it likes; the system's are shorter. */
	n = n > (int32_t)sizeof peer ? (int32_t)sizeof peer : n;
	l->peer = malloc((size_t)n + 1);
	if (l->peer) {
		memcpy(l->peer, peer, (size_t)n);
		l->peer[n] = 0;
	}
}

bool add_link(struct link *l, int32_t handle)
{
	char transport[8];
	int32_t named;

	if (!grow_table())
		return false;
	l->handle = handle;
	l->last = -1;
	l->wanted = 1;
	learn_peer(l);
	named = csa_v1_info(handle, CSA_INFO_TRANSPORT, transport, sizeof transport);
	l->datagrams = named == 3 && memcmp(transport, "udp", 3) == 0;
	l->messages = l->datagrams || (named == 2 && memcmp(transport, "ws", 2) == 0);
	l->next = *bucket(handle);
	*bucket(handle) = l;
	links++;
	return true;
}

void open_link(struct link *l)
{
	if (!l->peer && l->handle)
		learn_peer(l);
}

static void drop_queue(struct link *l)
{
	free(l->queue);
	l->queue = NULL;
	l->queued = l->room = 0;
}

void forget_link(struct link *l)
{
	struct link **at;

	if (!l->handle)
		return;
	for (at = bucket(l->handle); *at != l; at = &(*at)->next)
		;
	*at = l->next;
	links--;
	l->handle = 0;
	drop_queue(l);
}

void end_link(struct link *l)
{
	forget_link(l);
	free(l->peer);
	l->peer = NULL;
}

void handler_failed(int32_t handle)
{
	/* If the connection has ended already, the error counts all the same. */
	if (handle <= 0 || csa_v1_control(handle, CSA_HANDLER_FAILED) != CSA_OK)
		csa_v1_control(-1, CSA_HANDLER_FAILED);
}

void tell_failed(struct link *l)
{
	if (l && l->told_failed)
		return;
	handler_failed(l ? l->handle : 0);
	if (l)
		l->told_failed = true;
}

/* --- Sending -------------------------------------------------------------------- */

#define MARK ((int32_t)sizeof(int32_t)) /* bytes of a length that stands before a message in a queue */

void flush(struct link *l)
{
	int32_t sent = 0, mark = l->messages ? MARK : 0;

	while (l->handle && sent < l->queued) {
		uint8_t *at = l->queue + sent;
		int32_t len = l->queued - sent, n;

		if (mark)
			memcpy(&len, at, sizeof len);
		n = csa_v1_send(l->handle, at + mark, len);
		if (n == CSA_AGAIN || (n == 0 && len > 0))
			break;
		if (n < 0 || n > len) {
			sent = l->queued; /* nobody takes them any more */
			break;
		}
		if (n == len) {
			sent += mark + n;
			continue;
		}
		sent += n;
		len -= n;
		if (mark) /* what is left is a message of its own */
			memcpy(l->queue + sent, &len, sizeof len);
		break; /* writable comes */
	}
	l->queued -= sent;
	if (l->queued > 0) {
		memmove(l->queue, l->queue + sent, (size_t)l->queued);
		return;
	}
	if (l->queue)
		drop_queue(l);
	if (l->handle && l->last >= 0) {
		csa_v1_control(l->handle, l->last);
		l->last = -1;
	}
}

void finish(struct link *l, int32_t what)
{
	l->last = what;
	if (l->queued == 0)
		flush(l);
}

int send_or_keep(struct link *l, const uint8_t *p, size_t len)
{
	int32_t limit, n = 0, mark = l->messages ? MARK : 0;

	if (!l->handle || l->last >= 0 || l->closing || l->failed)
		return 0;
	limit = l->terms->queue_limit;
	if (len > (size_t)INT32_MAX / 2) {
		snprintf(problem, sizeof problem, "send: %u bytes at once are too many", (unsigned)len);
		return -1;
	}
	if (l->queued == 0) {
		n = csa_v1_send(l->handle, p, (int32_t)len);
		if (n == CSA_INVALID && l->datagrams) {
			snprintf(problem, sizeof problem, "send: %u bytes are longer than a datagram can be", (unsigned)len);
			return -1;
		}
		if (n == CSA_AGAIN && !l->datagrams)
			n = 0;
		if (n < 0)
			return 0; /* the peer is gone, and closed follows; or a datagram is lost */
		if ((size_t)n == len)
			return 1;
	}
	p += n;
	len -= (size_t)n;
	if (len + (size_t)mark > (size_t)(limit - l->queued)) {
		snprintf(problem, sizeof problem, "send: %d bytes wait already, and %u more are beyond %s, which is %d; "
			"stop when send answers false, and go on in writable", (int)l->queued, (unsigned)len, limit_names.queue, (int)limit);
		return -1;
	}
	if (l->queued + mark + (int32_t)len > l->room) {
		int32_t room = (l->queued + mark + (int32_t)len) * 3 / 2;
		uint8_t *q = realloc(l->queue, (size_t)room);

		if (!q) {
			snprintf(problem, sizeof problem, "send: out of memory");
			return -1;
		}
		l->queue = q;
		l->room = room;
	}
	if (mark) {
		int32_t length = (int32_t)len;

		memcpy(l->queue + l->queued, &length, sizeof length);
	}
	memcpy(l->queue + l->queued + mark, p, len);
	l->queued += mark + (int32_t)len;
	l->told_full = true;
	return 0;
}

/* --- Reading -------------------------------------------------------------------- */

bool reading(const struct link *l)
{
	return l->handle && !l->failed && !l->closing && !l->secured_now && (l->queued == 0 || l->datagrams);
}

void want(struct link *l, int32_t n)
{
	if (n != l->wanted && l->handle && !l->datagrams) {
		csa_v1_want(l->handle, n);
		l->wanted = n;
	}
}

static int32_t too_long(const char *what, const char *limit, int32_t most)
{
	snprintf(problem, sizeof problem, "the peer's %s is longer than %s, which is %d bytes", what, limit, (int)most);
	return -1;
}

int32_t first_line(const struct link *l, const uint8_t *p, int32_t len, struct piece *piece)
{
	const uint8_t *lf = memchr(p, '\n', (size_t)len);
	int32_t n = lf ? (int32_t)(lf - p) : len, taken = n + (lf != NULL);

	if ((lf || !l->datagrams) && n > 0 && p[n - 1] == '\r')
		n--; /* with its LF, or one that may follow */
	if (n > l->terms->line_limit)
		return too_long("line", limit_names.line, l->terms->line_limit);
	if (!lf && !l->datagrams)
		return 0;
	*piece = (struct piece){p, n};
	return taken;
}

int32_t first_frame(const struct link *l, const uint8_t *p, int32_t len, struct piece *piece, int32_t *needed)
{
	const struct terms *t = l->terms;
	int32_t head = t->frame_bytes, most = t->frame_limit < WINDOW - head ? t->frame_limit : WINDOW - head, i;
	uint32_t n = 0;

	*needed = head;
	if (len < head)
		return 0;
	for (i = 0; i < head; i++)
		n |= (uint32_t)p[i] << 8 * (t->frame_little ? i : head - 1 - i);
	if (t->frame_whole && n < (uint32_t)head) {
		snprintf(problem, sizeof problem, "the peer's frame says that it has %u bytes, and its length alone has %d", (unsigned)n, (int)head);
		return -1;
	}
	if (t->frame_whole)
		n -= (uint32_t)head;
	if (n > (uint32_t)most)
		return too_long("frame", limit_names.frame, most);
	*needed = head + (int32_t)n;
	if (len < *needed)
		return 0;
	*piece = (struct piece){p + head, (int32_t)n};
	return *needed;
}

/* --- What the host says --------------------------------------------------------- */

size_t info_of(const struct link *l, int32_t key, char *to, size_t cap)
{
	int32_t n = l->handle ? csa_v1_info(l->handle, key, to, (int32_t)cap) : 0;

	return n < 0 ? 0 : (size_t)n > cap ? cap : (size_t)n;
}

static const char *const codes[] = {
	"OK", "INVALID", "BAD_HANDLE", "AGAIN", "CLOSED", "DENIED", "QUOTA", "NOT_FOUND",
	"UNSUPPORTED", "TIMEOUT", "REFUSED", "UNREACHABLE", "TLS", "RESET", "CONFLICT",
};

const char *code_name(int32_t code)
{
	return code <= 0 && code > -(int32_t)(sizeof codes / sizeof *codes) ? codes[-code] : "INVALID";
}

void warn_of_stuck(struct link *l, const char *at)
{
	char line[CSA_MAX_LOG_LINE];
	int n;

	if (l->told_stuck || !l->handle || !reading(l))
		return;
	l->told_stuck = true;
	n = snprintf(line, sizeof line, "data of %.250s: it has consumed none of %d bytes, and there is no room for more; "
		"return how many it has consumed, or nothing for all of them%s%.300s",
		l->peer ? l->peer : "a connection", WINDOW, at ? ", " : "", at ? at : "");
	csa_v1_log(CSA_LOG_WARN, line, n < (int)sizeof line ? n : (int)sizeof line - 1);
}
