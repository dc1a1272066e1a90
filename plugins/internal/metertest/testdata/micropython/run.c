// MicroPython without a host around it: run(n) runs the benchmark of that number, and returns a
// hash of what it answers, or a negative number.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#include "py/builtin.h"
#include "py/compile.h"
#include "py/lexer.h"

static const struct { const char *name, *text; } programs[] = {
#include "programs.h"
};

// Runs a benchmark with the least parameters that it has, as MicroPython's benchrun.py does.
static const char harness[] =
	"\nrun, result = bm_setup(bm_params[min(bm_params)])\n"
	"run()\n"
	"answer = repr(result()[1])\n";

NORETURN void raise_text(const mp_obj_type_t *type, const char *format, ...) { mp_raise_msg(type, MP_ERROR_TEXT("")); }

void set_where(const char *text) {}

void clear_where(void) {}

void nlr_jump_fail(void *value) { __builtin_trap(); }

void mp_hal_stdout_tx_strn_cooked(const char *text, size_t length) {}

mp_import_stat_t mp_import_stat(const char *path) { return MP_IMPORT_STAT_NO_EXIST; }

mp_lexer_t *mp_lexer_new_from_file(qstr name) { mp_raise_OSError(2); }

static mp_obj_t no_open(size_t n, const mp_obj_t *args, mp_map_t *named) { mp_raise_OSError(2); }
MP_DEFINE_CONST_FUN_OBJ_KW(mp_builtin_open_obj, 1, no_open);

// Calls a function of Python, and answers whether no error got out of it.
static bool runs(mp_obj_t f)
{
	nlr_buf_t nlr;

	if (nlr_push(&nlr) != 0)
		return false;
	collects_in(f);
	mp_call_function_0(f);
	end_collects(false);
	nlr_pop();
	return true;
}

static mp_obj_t compile(const char *text)
{
	mp_lexer_t *lexer = mp_lexer_new_from_str_len(MP_QSTR_program, text, strlen(text), 0);
	mp_parse_tree_t tree = mp_parse(lexer, MP_PARSE_FILE_INPUT);

	return mp_compile(&tree, MP_QSTR_program, false);
}

__attribute__((export_name("programs"))) int count(void) { return sizeof programs / sizeof *programs; }

__attribute__((export_name("run"))) int run_program(int program)
{
	size_t length, i, size = strlen(programs[program].text) + sizeof harness;
	char *text = malloc(size);
	const char *answer;
	unsigned hash = 2166136261;
	mp_obj_t f;

	if (!text)
		return -1;
	start_memory();
	mp_init();
	enter(&length);
	begin_watch();
	snprintf(text, size, "%s%s", programs[program].text, harness);
	f = compile(text);
	free(text);
	if (!runs(f))
		return -2;
	answer = mp_obj_str_get_data(mp_load_name(MP_QSTR_answer), &length);
	for (i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)answer[i]) * 16777619;
	return hash & 0x7fffffff;
}
