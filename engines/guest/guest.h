/* What engines have in common, whatever language they run: the script's place, connections
 * with their queues, lines and frames, and what is computed of bytes. Nothing here knows
 * an interpreter. */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "csa.h"

#define WINDOW 65536            /* bytes; an engine defines a window of so many */
#define LINE_LIMIT 8192         /* bytes of a line, unless the script says otherwise */
#define FRAME_LIMIT WINDOW      /* of a frame, likewise */
#define QUEUE_LIMIT (256 << 10) /* bytes that wait to be sent, likewise */

#define SCRIPT_ROOM (512 << 10) /* bytes for a script, its name and what is behind it */

/* What went wrong, where a function says that it says so here. It lasts until the next
 * of them is called. */
extern char problem[256];

/* --- script.c: the script ------------------------------------------------------- */

/* The script that bulkhead has put into the module, and its name, each with a zero byte
 * behind it. False: there is none. */
bool script(const char **name, const char **text, size_t *length);

/* --- files.c: a script of several files -------------------------------------------- */

/* The host has put what a script imports behind it: see files.go of the Go package
 * engines/bundle. Such a script begins with a mark. Each file follows: a line with the length
 * of its text, the name that it is found by, and its path in the script's folder; then the
 * text, and the end of a line. The first is the script itself. */
struct file {
	const char *name, *path, *text; /* without zero bytes behind them */
	size_t name_length, path_length, length;
};

/* Makes f the script itself, of what script gave. A script of one file has its name as its
 * path. False: the files are not as the host makes them. */
bool main_file(const char *name, const char *text, size_t length, struct file *f);
/* The file by a name. False: there is none. */
bool find_file(const char *name, size_t length, struct file *f);
/* Where the other files begin, or NULL; and the file there, after which *at is behind it.
 * False: there is no other one. */
const char *other_files(void);
bool next_file(const char **at, struct file *f);

/* --- names.c: where a name is ------------------------------------------------------ */

/* Finds the last place in a file where a name has a sign behind it, ':' or '=', which gives it a
 * value; line and column count from 1. What is in quotes, or behind the text that begins a
 * comment, does not count. False: there is none. */
bool find_name(const struct file *f, const char *name, char sign, const char *comment, int *line, int *column);

/* --- calls.c: the calls that an error was in -------------------------------------- */

#define MOST_CALLS 12    /* that are shown, innermost first; those of a recursion once */
#define LONGEST_ROUND 4  /* how many functions may call each other in a recursion */
#define CALL_ROOM 160    /* bytes of one, with the zero byte behind it */

struct calls {
	char *to;
	size_t n, room; /* bytes that are there, and that there may be */
	int shown;
	bool full;      /* nothing more is shown */
	int round, repeated; /* of a recursion: calls of a round; calls that are left out so far */
	int count;
	char last[LONGEST_ROUND][CALL_ROOM];
};

/* Begins a list of calls behind the length bytes at to, where there is room for so many in
 * all. Each call is text, as "at f (x.js:1:2)", shorter than CALL_ROOM. end_calls returns
 * how many bytes there are then, without a zero byte. */
void begin_calls(struct calls *k, char *to, size_t length, size_t room);
void add_call(struct calls *k, const char *call);
size_t end_calls(struct calls *k);

/* --- where.c: what takes long ------------------------------------------------------ */

/* Says where a script is whose event takes long: text with a zero byte behind it, in WHERE_ROOM
 * bytes, all of which are read. The host reads it when it stops the event. */
#define WHERE_ROOM 256
void set_where(const char *text);

/* Says nothing, as when an event begins. */
void clear_where(void);

/* --- link.c: connections ---------------------------------------------------------- */

/* What a script wants of its connections. */
struct terms {
	int32_t line_limit, frame_limit, queue_limit; /* bytes */
	int32_t frame_bytes; /* of a frame's length: 1, 2 or 4 */
	bool frame_little, frame_whole; /* its byte order; whether the length counts itself */
};

/* What a script calls the limits, for messages. Each engine defines it. */
extern const struct limit_names { const char *line, *frame, *queue; } limit_names;

/* A connection, as the first member of what an engine has of one. */
struct link {
	int32_t handle;    /* 0: it has ended, or was spliced */
	char *peer;        /* its address, which the host does not tell any more in closed; NULL: it
	                    * is not known, as before a connection that is dialled is open */
	uint8_t *queue;    /* what send has not taken yet */
	int32_t queued, room;
	int32_t last;      /* what control is told when the queue is empty, or -1 */
	int32_t wanted;    /* what want was told */
	bool closing;      /* the script has said close or abort: it reads nothing more */
	bool failed;       /* an error was not caught: it is closed */
	bool told_failed;  /* and the host knows */
	bool told_stuck;   /* it was said that data consumes nothing */
	bool told_full;    /* send has answered false, so writable follows */
	bool unread;       /* nobody reads: reading is paused until somebody does */
	bool secured_now;  /* makessl was called in this event */
	bool datagrams;    /* it is over UDP */
	bool messages;     /* each send is a message, over UDP or WebSocket; so in the queue, behind its length */
	const struct terms *terms; /* the engine's, which keeps them */
	struct link *next; /* in its bucket */
};

struct link *find_link(int32_t handle); /* NULL: there is none */
/* Makes l, all zeros, the connection of a handle. False: there is no memory. */
bool add_link(struct link *l, int32_t handle);
/* l is open. Of one that was dialled the peer is known now. */
void open_link(struct link *l);
/* Takes the handle away, and what waits to be sent: the connection has ended, or was
 * spliced. The engine frees l, after end_link. */
void forget_link(struct link *l);
void end_link(struct link *l);

/* Says in the log, once for a connection, that its data has consumed nothing of a full window:
 * the host reads no more then. at is where the script has data, as "at data (x.js:1:2)", or
 * NULL. It says nothing of a connection that has ended or reads nothing. */
void warn_of_stuck(struct link *l, const char *at);

/* Tells the host that an error was not caught. It counts it, and closes the connection of the
 * handle; 0: the error was nobody's. tell_failed does so once for each connection; l may be
 * NULL. */
void handler_failed(int32_t handle);
void tell_failed(struct link *l);

/* Sends what waits, and then says what finish was told. */
void flush(struct link *l);
/* Says PRODUCER_FINISHED or FINISH_SENDING when nothing waits any more. */
void finish(struct link *l, int32_t what);
/* Sends, and keeps what is not taken. 1: all is on its way; 0: something waits, or the
 * connection takes nothing; below 0: see problem. */
int send_or_keep(struct link *l, const uint8_t *p, size_t len);

/* Whether it can be given more of what it has received. */
bool reading(const struct link *l);
/* Asks for n bytes at once, if that is not what was asked for already. */
void want(struct link *l, int32_t n);

/* Finds the first line, or frame, of the len bytes at p, of which there is one at least. It
 * returns how many bytes that takes; 0: it is not there whole; below 0: see problem. What
 * it has, without its end or its length, is put into piece. A frame that is not whole
 * yet puts into *needed how many bytes it takes. */
struct piece { const uint8_t *p; int32_t len; };
int32_t first_line(const struct link *l, const uint8_t *p, int32_t len, struct piece *piece);
int32_t first_frame(const struct link *l, const uint8_t *p, int32_t len, struct piece *piece, int32_t *needed);

/* What csa_v1_info says under a key, cut to cap. Returns how many bytes that is. */
size_t info_of(const struct link *l, int32_t key, char *to, size_t cap);

const char *code_name(int32_t code); /* "CLOSED" */

/* --- bytes.c ------------------------------------------------------------------------ */

#define BASE64_ROOM(len) (((len) + 2) / 3 * 4)
size_t base64_encode(const uint8_t *p, size_t len, char *to); /* to has BASE64_ROOM(len) */
/* Takes both alphabets, with "=" at the end or without; nothing else. to has len / 4 * 3 + 3
 * bytes. Below 0: see problem. */
ptrdiff_t base64_decode(const uint8_t *p, size_t len, uint8_t *to);
void hex_encode(const uint8_t *p, size_t len, char *to); /* to has twice as many */
/* Takes digits of both cases, and blanks between bytes. to has len / 2 bytes. */
ptrdiff_t hex_decode(const uint8_t *p, size_t len, uint8_t *to);

enum crc { CRC_X25, CRC_MODBUS, CRC_XMODEM, CRC_CCITT, CRC_CRC32, CRCS };
extern const char *const crc_names[CRCS]; /* "x25" */
uint32_t crc_of(enum crc kind, const uint8_t *p, size_t len);

/* --- hash.c ------------------------------------------------------------------------- */

enum { MD5, SHA1, SHA256, SHA512, ALGORITHMS };

#define DIGEST_ROOM 64 /* bytes */
#define MOST_BLOCK 128

struct hash {
	const struct algorithm *algorithm;
	union {
		uint32_t w[8];
		uint64_t q[8];
	} state;
	uint64_t bytes; /* taken so far */
	uint8_t block[MOST_BLOCK]; /* what is taken and not mixed in */
	bool ended;
};

struct algorithm {
	const char *name; /* "sha256" */
	void (*mix)(struct hash *h, const uint8_t *block);
	uint8_t words, block, digest; /* words of the state; bytes of the others */
	bool wide, little; /* words of 64 bits; the least byte first */
	uint64_t first[8];
};

extern const struct algorithm algorithms[ALGORITHMS];
const struct algorithm *find_algorithm(const char *name); /* NULL: there is none */

void begin_hash(struct hash *h, const struct algorithm *a);
void add_to_hash(struct hash *h, const uint8_t *p, size_t len);
void end_hash(struct hash *h, uint8_t to[DIGEST_ROOM]);
void hash_of(const struct algorithm *a, const uint8_t *p, size_t len, uint8_t to[DIGEST_ROOM]);
void hmac_of(const struct algorithm *a, const uint8_t *key, size_t key_len, const uint8_t *p, size_t len, uint8_t to[DIGEST_ROOM]);
/* Whether the bytes are the same, in a time that tells nothing of where they differ. */
bool equal_bytes(const uint8_t *p, size_t len, const uint8_t *q, size_t q_len);

#endif
