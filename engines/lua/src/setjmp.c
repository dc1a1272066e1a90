/* What the compiler makes calls of setjmp and longjmp to: see its WebAssemblyLowerEmscriptenEHSjLj. */
#include "setjmp.h"

void __wasm_setjmp(struct jump *buffer, unsigned label, void *call)
{
	buffer->call = call;
	buffer->label = label;
}

/* Which setjmp of this call of a function the buffer is from; 0: none. */
unsigned __wasm_setjmp_test(struct jump *buffer, void *call)
{
	return buffer->label && buffer->call == call ? buffer->label : 0;
}

void __wasm_longjmp(struct jump *buffer, int value)
{
	buffer->thrown.buffer = buffer;
	buffer->thrown.value = value ? value : 1;
	__builtin_wasm_throw(1, &buffer->thrown);
}

/* The tag of such exceptions, which the linker would look for in the C library. */
__asm__(".globl __c_longjmp\n"
	".tagtype __c_longjmp i32\n"
	"__c_longjmp:\n");
