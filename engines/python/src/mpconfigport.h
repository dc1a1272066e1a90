/* How MicroPython is built for the engine. */
#include <alloca.h>
#include <stdint.h>
#include <stdlib.h>

typedef intptr_t mp_int_t;
typedef uintptr_t mp_uint_t;
typedef long mp_off_t;

#define MICROPY_CONFIG_ROM_LEVEL (MICROPY_CONFIG_ROM_LEVEL_EXTRA_FEATURES)
#define MICROPY_MPHALPORT_H "mphalport.h"
#define MICROPY_HW_BOARD_NAME "bulkhead"
#define MICROPY_HW_MCU_NAME "WebAssembly"
#define MICROPY_PY_SYS_PLATFORM "bulkhead"

/* The collector sees only what is in memory, and the locals of C functions are not. So it
 * runs when all that is alive is in the stack of frames of Python, which is in memory and
 * apart from that of C: see collect.c. */
#define MICROPY_ENABLE_GC (1)
#define MICROPY_ENABLE_PYSTACK (1)
#define MICROPY_STACKLESS (1)
#define MICROPY_GC_SPLIT_HEAP (1)
#define MICROPY_GC_SPLIT_HEAP_AUTO (1)
#define MICROPY_GC_ALLOC_THRESHOLD (1) /* it counts what is allocated */
#define MICROPY_ENABLE_FINALISER (0)
#define MICROPY_STACK_CHECK (1)
#define MICROPY_NLR_SETJMP (1)

extern uint32_t rounds_left;
extern size_t collect_at;
struct _mp_code_state_t;
void look_around(struct _mp_code_state_t *frame);
/* Loops come by here. */
#define MICROPY_VM_HOOK_LOOP \
	if (--rounds_left == 0 || MP_STATE_MEM(gc_alloc_amount) > collect_at) \
		look_around(code_state);

/* What gc.c, recursiveloop.c, and obj.c, objtuple.c and objset.c call. */
size_t pass_full(const unsigned char *table, size_t i, size_t len, size_t *run);
void check_regex_depth(volatile void *here);
void check_depth(volatile void *here);

#define MICROPY_ENABLE_COMPILER (1)
#define MICROPY_ENABLE_SOURCE_LINE (1)
#define MICROPY_ERROR_REPORTING (MICROPY_ERROR_REPORTING_DETAILED)
#define MICROPY_FLOAT_IMPL (MICROPY_FLOAT_IMPL_DOUBLE)
#define MICROPY_LONGINT_IMPL (MICROPY_LONGINT_IMPL_MPZ)
#define MICROPY_CAN_OVERRIDE_BUILTINS (1)
#define MICROPY_MODULE_WEAK_LINKS (0)
#define MICROPY_CPYTHON_COMPAT (1)
#define MICROPY_PY_ALL_SPECIAL_METHODS (1)
#define MICROPY_PY_REVERSE_SPECIAL_METHODS (1)
#define MICROPY_PY_BUILTINS_NEXT2 (1)
#define MICROPY_PY_BUILTINS_BYTES_HEX (1)
#define MICROPY_PY_FUNCTION_ATTRS (1)
#define MICROPY_PY_DELATTR_SETATTR (1)

#define MICROPY_ENABLE_EXTERNAL_IMPORT (1) /* of what the host has put behind the script */
#define MICROPY_READER_VFS (0)
#define MICROPY_VFS (0)
#define MICROPY_KBD_EXCEPTION (0)
#define MICROPY_ENABLE_SCHEDULER (0)
#define MICROPY_REPL_EVENT_DRIVEN (0)
#define MICROPY_HELPER_REPL (0)
#define MICROPY_PY_BUILTINS_EXECFILE (0)
#define MICROPY_PY_BUILTINS_INPUT (0)
#define MICROPY_PY_BUILTINS_HELP (0)
#define MICROPY_PY_MICROPYTHON (0)
#define MICROPY_PY_GC (0)
#define MICROPY_PY_SYS (1)
#define MICROPY_PY_SYS_EXIT (0)
#define MICROPY_PY_SYS_STDFILES (0)
#define MICROPY_PY_SYS_PATH (0)
#define MICROPY_PY_SYS_ARGV (0)
#define MICROPY_PY_SYS_PS1_PS2 (0)
#define MICROPY_PY_SYS_STDIO_BUFFER (0)
#define MICROPY_PY_IO (1)
#define MICROPY_PY_JSON (1) /* text of it: the module is in json.c */
#define MICROPY_PY_JSON_SEPARATORS (0)
#define MICROPY_PY_RE (1)
#define MICROPY_PY_RE_SUB (1)
#define MICROPY_PY_RE_MATCH_GROUPS (1)
#define MICROPY_PY_RE_MATCH_SPAN_START_END (1)
#define MICROPY_PY_BINASCII (1)
#define MICROPY_PY_BINASCII_CRC32 (0)
#define MICROPY_PY_HEAPQ (1)
#define MICROPY_PY_RANDOM (1)
#define MICROPY_PY_RANDOM_EXTRA_FUNCS (1)
#define MICROPY_PY_TIME (0)
#define MICROPY_PY_SELECT (0)
#define MICROPY_PY_OS (0)
#define MICROPY_PY_ASYNCIO (0)
#define MICROPY_PY_FRAMEBUF (0)
#define MICROPY_PY_MACHINE (0)
#define MICROPY_PY_DEFLATE (0)
#define MICROPY_PY_UCTYPES (0)
#define MICROPY_PY_HASHLIB (0)
#define MICROPY_PY_PLATFORM (0)
