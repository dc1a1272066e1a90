/* The Lua engine: Lua 5.4 as a guest of the host. engine.c starts a script and has the
 * callbacks; task.c runs them, so that they can wait; memory.c is where objects come from, and
 * where they go; connection.c is the connection object of scripts; require.c loads them and what
 * they require; library.c, hash.c and json.c are what scripts have besides. */
#ifndef ENGINE_H
#define ENGINE_H

#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

#include "lobject.h" /* GCObject */
#include "ldo.h"     /* Pfunc */

#include "../../guest/guest.h"

/* The functions that a script may define, in the order of callback_names. */
enum callback {
	ON_START, ON_OPEN, ON_DATA, ON_LINE, ON_FRAME, ON_EOF, ON_WRITABLE,
	ON_SECURED, ON_TIMER, ON_CLOSED, ON_STOP, CALLBACKS,
};
extern const char *const callback_names[CALLBACKS];

/* A table with callbacks, read once: what it says later changes nothing. It is a userdata.
 * The function of a callback is its user value callback + 1, and the table the one after. */
struct callbacks {
	struct terms terms;
	bool has[CALLBACKS];
};

/* A userdata, whose user values are the script's own fields, in a table that is made when
 * there is one, and the callbacks. The registry holds it while hold says so. */
struct connection {
	struct link;
	const struct callbacks *callbacks;
	struct task *dialler; /* who waits for it to be up, or NULL */
	int holds, reference;
	int blocked;          /* callbacks of it that wait: it reads nothing meanwhile */
	bool paused;          /* by the script */
};
enum { FIELDS = 1, OWN_CALLBACKS = 2 };

extern lua_State *L;              /* the main one */
extern struct connection *serving; /* whose event it is, or NULL */

extern int steps_left; /* until note_where is called: see luai_step of build.sh */

int luaD_begin(lua_State *l, lua_State *from, Pfunc f, void *ud); /* see build.sh */

/* memory.c */
void *allocate(void *unused, void *p, size_t old, size_t size);
void events_follow(void);
struct mark { GCObject *last; StkId stack; }; /* the last object that was made before, and where the stack is */
struct mark begin_strings(lua_State *l);
void free_strings(lua_State *l, struct mark m);

/* engine.c */
bool started(void);
void fail(struct connection *c, const char *what, lua_State *thread, lua_State *called);

/* task.c */
enum outcome { DONE, WAITS, FAILED };
enum outcome run(struct connection *c, const char *what, bool blocks, lua_State *from, int args);
bool run_event_of(struct connection *c, const char *what, Pfunc f, void *event);
bool resume_dialler(struct connection *c, int32_t code);
void run_timeouts(void);
void wake_for_first(void);
void define_tasks(void);

/* connection.c */
void define_connections(void);
void read_callbacks(lua_State *l, int at, bool of_script);
extern const char *suspect; /* what read_callbacks does not like, by its name, or NULL */
struct connection *new_connection(lua_State *l, int callbacks);
struct connection *connection_of(int32_t handle);
void push_connection(lua_State *l, struct connection *c);
void push_callback(lua_State *l, struct connection *c, enum callback which);
void hold(lua_State *l, struct connection *c);
void let_go(struct connection *c);
void forget(struct connection *c);
void update_reading(struct connection *c);

/* require.c */
void define_require(void);
void load_main(lua_State *l, const char *name, const char *text, size_t length);

/* library.c, hash.c, json.c */
void define_library(void);
void define_hashes(void);
const uint8_t *bytes_of(lua_State *l, int at, size_t *length);
void define_all(const char *table, lua_CFunction f, const char *(*name)(int), int n);
void define_json(void);
void decode_json(lua_State *l, const char *text, size_t length, const char *what);

#endif
