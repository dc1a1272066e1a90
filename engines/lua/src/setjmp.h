/* setjmp for Lua's errors: the C library has none. The compiler makes WebAssembly exceptions
 * of it, and setjmp.c has what those call. */
#ifndef SETJMP_H
#define SETJMP_H

struct jump {
	void *call;     /* which call of the function that has said setjmp */
	unsigned label; /* which setjmp of that */
	struct { struct jump *buffer; int value; } thrown;
};
typedef struct jump jmp_buf[1];

int setjmp(jmp_buf buffer) __attribute__((returns_twice));
_Noreturn void longjmp(jmp_buf buffer, int value);
void __wasm_setjmp(struct jump *buffer, unsigned label, void *call);
unsigned __wasm_setjmp_test(struct jump *buffer, void *call);
void __wasm_longjmp(struct jump *buffer, int value);

#endif
