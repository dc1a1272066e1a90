/* The JavaScript engine: QuickJS as a guest of the host. engine.c starts a script and
 * has the callbacks; connection.c is the connection object of scripts; bytes.c and
 * prelude.js are what scripts have besides. */
#ifndef ENGINE_H
#define ENGINE_H

#include "quickjs.h"

#include "../../guest/guest.h"

extern JSContext *ctx;

/* The functions that a script may define, in the order of callback_names. */
enum callback {
	ON_START, ON_OPEN, ON_DATA, ON_LINE, ON_FRAME, ON_EOF, ON_WRITABLE,
	ON_SECURED, ON_TIMER, ON_CLOSED, ON_STOP, CALLBACKS,
};
extern const char *const callback_names[CALLBACKS];

/* An object with callbacks, read once: what it says later changes nothing. */
struct callbacks {
	JSValue object; /* `this` of its functions */
	JSValue function[CALLBACKS];
	struct terms terms;
	bool line_bytes; /* lines are bytes, and not text */
};

struct connection {
	struct link;
	JSValue object;    /* the script's; held while there is a handle */
	JSValue callbacks; /* an object that has a struct callbacks */
	JSValue resolve, reject; /* of who waits for a dial, or undefined */
	bool paused;       /* the script has said pause, and not resume */
};

extern struct connection *serving; /* whose event it is, or NULL */

/* engine.c */
void report(struct connection *c, const char *what);
void fail(struct connection *c, const char *what);
void run_jobs(void);
bool started(void);

/* memory.c */
extern const JSMallocFunctions memory_functions;

/* place.c */
/* Puts where a function was written into to, as a line of a stack, under this name. False: f
 * is no function of a script. */
bool place_of(JSValueConst f, const char *name, char *to, size_t room);
/* Adds to the exception that is pending where the handler was written: its function suspect;
 * where that is NULL, its first one; or else its export. */
void add_place(JSValueConst object, const char *suspect);

/* connection.c */
int define_connections(JSValueConst global);
void use_connections(void);
JSValue read_callbacks(JSValueConst object, bool of_script);
extern const char *suspect; /* what read_callbacks does not like, by its name, or NULL */
struct callbacks *callbacks_of(struct connection *c);
struct connection *known(int32_t handle, JSValueConst callbacks);
struct connection *find(int32_t handle);
void forget(struct connection *c);
JSValue code_error(const char *what, int32_t code);

/* bytes.c */
void define_bytes(JSValueConst global);
JSValue new_bytes(const void *p, size_t len);
/* The bytes of a text, as UTF-8, or of a Uint8Array or ArrayBuffer. The result is to be
 * given back by release_bytes. False: an exception is thrown, which begins with what. */
struct bytes {
	const uint8_t *p;
	size_t len;
	const char *text;
	JSValue buffer;
};
bool take_bytes(JSValueConst v, struct bytes *b, const char *what);
void release_bytes(struct bytes *b);


/* hash.c */
int define_hashes(JSValueConst global);

#endif
