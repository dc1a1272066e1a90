// setjmp and longjmp for guests that clang builds with
//
//     -fwasm-exceptions -mllvm -wasm-enable-sjlj
//
// Link setjmp.c and tag.s beside it. README.md of the folder above says more. To jump into a
// function that has returned is an exception that nobody catches, and ends the guest.
#ifndef SETJMP_H
#define SETJMP_H

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
	void *frame; // of the function that has called setjmp
	unsigned label;
	struct {
		void *env;
		int value;
	} thrown;
} jmp_buf[1];

int setjmp(jmp_buf) __attribute__((returns_twice));
__attribute__((noreturn)) void longjmp(jmp_buf, int);

#ifdef __cplusplus
}
#endif

#endif
