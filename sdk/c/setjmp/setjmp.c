// What clang makes calls of from setjmp and longjmp.
#include "setjmp.h"

void __wasm_setjmp(jmp_buf env, unsigned label, void *frame)
{
	env->frame = frame;
	env->label = label;
}

unsigned __wasm_setjmp_test(jmp_buf env, void *frame)
{
	return env->label != 0 && env->frame == frame ? env->label : 0;
}

void __wasm_longjmp(jmp_buf env, int value)
{
	env->thrown.env = env;
	env->thrown.value = value != 0 ? value : 1;
	__builtin_wasm_throw(1, &env->thrown); // 1 is the tag __c_longjmp
}
