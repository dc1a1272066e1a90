/* The Python engine: MicroPython as a guest of the host. engine.c starts a script and has the
 * callbacks; task.c runs them, so that they can wait; connection.c is the connection object
 * of scripts; library.c is what scripts have besides, and json.c its module json; import.c finds
 * the files that a script imports; collect.c is when garbage is collected, and where a script
 * is that takes long. */
#ifndef ENGINE_H
#define ENGINE_H

#include "py/gc.h"
#include "py/objgenerator.h"
#include "py/objstr.h"
#include "py/runtime.h"

#include "../../guest/guest.h"

/* The functions that a script may define, in the order of callback_names. */
enum callback {
	ON_START, ON_OPEN, ON_DATA, ON_LINE, ON_FRAME, ON_EOF, ON_WRITABLE,
	ON_SECURED, ON_TIMER, ON_CLOSED, ON_STOP, CALLBACKS,
};
extern const char *const callback_names[CALLBACKS];

/* A handler, read once: what it says later changes nothing. The functions are those of an
 * object, a class or a module. */
struct callbacks {
	struct terms terms;
	bool line_bytes; /* line is given bytes */
	mp_obj_t object; /* the handler */
	struct { mp_obj_t function, self; } on[CALLBACKS]; /* both may be MP_OBJ_NULL */
};

/* In the collected memory. While it has a handle, or is held, it is in a list that the
 * collector sees. */
struct connection {
	mp_obj_base_t base;
	struct link;
	struct callbacks *callbacks;
	mp_obj_t fields;      /* the script's own, in a dict; MP_OBJ_NULL: none yet */
	mp_obj_t last_peer;   /* its address, once it has ended */
	struct wait *dialler; /* who waits for it to be up, or NULL */
	struct connection *before, *after; /* in the list */
	int holds;
	int blocked;          /* callbacks of it that wait: it reads nothing meanwhile */
	bool paused;          /* by the script */
	bool listed;
};

struct connection *connection_of_link(struct link *l);
extern struct connection *serving; /* whose event it is, or NULL */

/* collect.c */
void start_memory(void);
void enter(void *top);    /* an event begins */
void collect_between(void); /* an event has ended: nothing is in C's hands */
void collect_all(void);
bool collects_in(mp_obj_t f);
void end_collects(bool before);
void begin_watch(void);
size_t line_of_function(mp_obj_t f, qstr *file); /* 0: it has none */
bool place_of(mp_obj_t f, const char *name, char *to, size_t room); /* "at data (x.py:2)"; false: f has none */

/* engine.c */
bool started(void);
void report(struct connection *c, const char *what, mp_obj_t exception);
void fail(struct connection *c, const char *what, mp_obj_t exception);
NORETURN void raise_text(const mp_obj_type_t *type, const char *format, ...);

/* task.c */
enum outcome { DONE, WAITS, FAILED };
enum outcome run(struct connection *c, const char *what, bool blocks, mp_obj_t f, size_t args, mp_obj_t *argv, mp_obj_t *result);
bool resume_dialler(struct connection *c, int32_t code);
void run_timeouts(void);
void wake_for_first(void);
void warn_of_unawaited(void);

/* connection.c */
extern const mp_obj_type_t connection_type;
struct callbacks *read_callbacks(mp_obj_t object, bool of_script);
extern const char *suspect; /* what read_callbacks does not like, by its name, or NULL */
struct connection *new_connection(struct callbacks *callbacks);
struct connection *connection_of(int32_t handle);
void hold(struct connection *c);
void let_go(struct connection *c);
void forget(struct connection *c);
void end_of(struct connection *c);
void update_reading(struct connection *c);
const char *peer_of(struct connection *c); /* NULL: it is not known */

/* library.c */
void define_library(void);
void set_builtin(qstr name, mp_obj_t value);
void flush_print(void);
void seed_random(void);
size_t utf8_character(const uint8_t *p, size_t len);
mp_obj_t text_of_bytes(const uint8_t *p, size_t len);
mp_obj_t read_config(void);

/* json.c */
mp_obj_t json_loads(mp_obj_t text);

#endif
