/* When garbage is collected, and where a script is that takes long.
 *
 * MicroPython's collector looks for pointers in memory. In WebAssembly the locals of C
 * functions are not there, so what only such a local points at would be taken for garbage.
 * Therefore it runs at two places alone: between events, and in a loop of a Python function
 * that task.c has called, and nothing in between. There all that is alive hangs on the frames,
 * which are in the stack of frames, or on the roots: task.c has nothing else in its hands. */
#include <stdio.h>
#include <string.h>

#include "engine.h"

#include "py/bc.h"
#include "py/cstack.h"
#include "py/objfun.h"
#include "py/pystack.h"

#define HEAP (48 << 10)          /* bytes, that the engine begins with */
#define FRAMES (64 << 10)        /* of the stack of frames: it bounds recursion of Python */
#define C_STACK (40 << 10)       /* of C's: it bounds recursion through C, before the host does */
#define REGEX_STACK (140 << 10)  /* likewise of a regular expression's; its frames are small */
#define MOST_SPLIT (16 << 20)    /* by which the heap grows at once, or by what is asked for */
#define LEAST_GARBAGE (24 << 10) /* bytes that are allocated before a collection pays */
#define ROUNDS 20000             /* of loops, until it is written down where the script is */

#define BLOCK (4 * sizeof(void *))

uint32_t rounds_left = ROUNDS;
size_t collect_at = LEAST_GARBAGE / BLOCK; /* blocks, allocated since the last collection */

static char heap[HEAP] __attribute__((aligned(16)));
static char frames[FRAMES] __attribute__((aligned(16)));
static int loops;   /* of Python that are in each other, with C functions between */
static bool collects; /* it may, in the first of them: see collects_in */

void start_memory(void)
{
	char top;

	mp_cstack_init_with_top(&top, C_STACK);
	gc_init(heap, heap + sizeof heap);
	MP_STATE_MEM(gc_alloc_threshold) = (size_t)-1; /* it only counts */
	mp_pystack_init(frames, frames + sizeof frames);
}

size_t gc_get_max_new_split(void)
{
	return MOST_SPLIT;
}

void gc_collect(void)
{
	/* The allocator asks for it amidst anything. */
}

void collect_between(void)
{
	if (MP_STATE_MEM(gc_alloc_amount) > collect_at)
		collect_all();
}

/* Collects, and sees how much is alive: half as much again is allocated before the next. */
void collect_all(void)
{
	gc_info_t info;

	gc_collect_start();
	gc_collect_end();
	gc_info(&info);
	collect_at = (info.used / 2 > LEAST_GARBAGE ? info.used / 2 : LEAST_GARBAGE) / BLOCK;
}

void enter(void *top)
{
	mp_cstack_init_with_top(top, C_STACK);
	loops = 0;
	collects = false;
}

/* A bound method, as objboundmeth.c has it. */
struct bound { mp_obj_base_t base; mp_obj_t method, self; };
extern const mp_obj_type_t mp_type_closure;

/* Garbage may be collected while f runs, which the caller calls now: the caller has nothing in
 * its hands that the collector does not see. That holds only if f is a frame of Python. It is
 * not one if it is a class, whose object is nowhere else while __init__ runs, or a function in
 * C that calls Python, as list.sort. Answers what was so before, for end_collects. */
bool collects_in(mp_obj_t f)
{
	bool before = collects;

	if (mp_obj_is_type(f, &mp_type_bound_meth))
		f = ((struct bound *)MP_OBJ_TO_PTR(f))->method;
	collects = mp_obj_is_type(f, &mp_type_fun_bc) || mp_obj_is_type(f, &mp_type_closure) ||
		mp_obj_is_type(f, &mp_type_gen_instance);
	return before;
}

/* The call is over, also by an error. */
void end_collects(bool before)
{
	collects = before;
}

/* A regular expression calls itself for each character that a star has taken. */
void check_regex_depth(volatile void *here)
{
	if (MP_STATE_THREAD(stack_top) - (char *)here > REGEX_STACK)
		raise_text(&mp_type_RuntimeError, "the regular expression repeats something too often for this text");
}

/* What looks into a value calls itself for each value in it. The frames of that have nothing in
 * memory but here, so that this bounds how many there are, and with them the host's stack. */
void check_depth(volatile void *here)
{
	if (MP_STATE_THREAD(stack_top) - (char *)here > C_STACK)
		mp_raise_recursion_depth();
}

void begin_watch(void)
{
	rounds_left = ROUNDS;
	clear_where();
}

/* The first byte of the allocator's table, from i on, that has a free block, or len. Each byte
 * has four blocks, of two bits, which are zero for a free one. If any byte is passed, no run
 * of free blocks goes on. */
size_t pass_full(const unsigned char *table, size_t i, size_t len, size_t *run)
{
	const uint64_t low = 0x5555555555555555;
	uint64_t word;

	for (; i < len && ((table[i] | table[i] >> 1) & 0x55) == 0x55; i++) {
		*run = 0;
		for (; i + 9 <= len; i += 8) {
			memcpy(&word, table + i + 1, 8);
			if (((word | word >> 1) & low) != low)
				break;
		}
	}
	return i;
}

/* The line that a function is at, whose next instruction is at, as a traceback has it; NULL: where
 * it begins. */
static size_t line_of(mp_obj_fun_bc_t *f, const byte *at, qstr *file, qstr *function)
{
	const byte *ip = f->bytecode;
	size_t i;

	MP_BC_PRELUDE_SIG_DECODE(ip);
	MP_BC_PRELUDE_SIZE_DECODE(ip);
	const byte *line_info_top = ip + n_info, *start = ip + n_info + n_cell;
	*function = mp_decode_uint_value(ip);
	for (i = 0; i < 1 + n_pos_args + n_kwonly_args; i++)
		ip = mp_decode_uint_skip(ip);
	*file = f->context->constants.source_file;
	(void)n_state; (void)n_exc_stack; (void)scope_flags; (void)n_def_pos_args;
	return mp_bytecode_get_source_line(ip, line_info_top, at ? (size_t)(at - start) : 0);
}

size_t line_of_function(mp_obj_t f, qstr *file)
{
	qstr function;

	return mp_obj_is_type(f, &mp_type_fun_bc) ? line_of(MP_OBJ_TO_PTR(f), NULL, file, &function) : 0;
}

bool place_of(mp_obj_t f, const char *name, char *to, size_t room)
{
	qstr file, function;
	size_t line;

	if (!mp_obj_is_type(f, &mp_type_fun_bc))
		return false;
	line = line_of(MP_OBJ_TO_PTR(f), NULL, &file, &function);
	snprintf(to, room, "at %.60s (%.60s:%d)", name, qstr_str(file), (int)line);
	return true;
}

static void write_where(mp_code_state_t *frame)
{
	char text[WHERE_ROOM] = "";
	size_t n = 0;
	qstr file, function;

	for (; frame && n < sizeof text; frame = frame->prev) {
		size_t line = line_of(frame->fun_bc, frame->ip, &file, &function);

		n += (size_t)snprintf(text + n, sizeof text - n, "%sat %.60s (%.60s:%d)",
			n ? ", " : "", qstr_str(function), qstr_str(file), (int)line);
	}
	set_where(text);
}

void look_around(mp_code_state_t *frame)
{
	if (rounds_left == 0) {
		rounds_left = ROUNDS;
		write_where(frame);
	}
	if (loops == 1 && collects && MP_STATE_MEM(gc_alloc_amount) > collect_at)
		collect_all();
}

/* vm.c has it under another name. */
mp_vm_return_kind_t execute_frame(mp_code_state_t *frame, volatile mp_obj_t exception);
mp_vm_return_kind_t mp_execute_bytecode(mp_code_state_t *frame, volatile mp_obj_t exception)
{
	mp_vm_return_kind_t kind;

	loops++;
	kind = execute_frame(frame, exception);
	loops--;
	return kind;
}
