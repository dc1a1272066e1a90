/* An interpreter of bytecode: a loop around a big switch with a stack, the code where charging by
 * regions has the least to gather. Its program counts the primes below 500 with a sieve, and the
 * steps of the Collatz series of 27. */
#include "guest.h"

enum { LIMIT = 500, STACK = 64, VARIABLES = 8, LONGEST = 256 };

enum op {
	HALT, PUSH, GET, SET, ADD, SUB, MUL, MOD, SHIFT, AND, OR, XOR, LESS, EQUAL, NOT, JUMP, UNLESS, LOAD, STORE, INC,
	DUP, DROP, SWAP, NEGATE,
};

enum variable { I, K, PRIMES, N, STEPS };

static int32_t program[LONGEST], heap[LIMIT];
static int length;

static void one(int32_t op)
{
	program[length++] = op;
}

static void two(int32_t op, int32_t argument)
{
	one(op);
	one(argument);
}

/* ahead writes a jump to where land is called for it. */
static int ahead(int32_t op)
{
	two(op, 0);
	return length - 1;
}

static void land(int from)
{
	program[from] = length;
}

EXPORT("prepare") void prepare(void)
{
	int top, inner, out, next, even, odd;

	/* for i = 0; i < LIMIT; i++: heap[i] = 1 */
	two(PUSH, 0), two(SET, I);
	top = length;
	two(GET, I), two(PUSH, LIMIT), one(LESS), out = ahead(UNLESS);
	two(GET, I), two(PUSH, 1), one(STORE), two(INC, I), two(JUMP, top);
	land(out);
	/* for i = 2; i < LIMIT; i++: if heap[i]: primes++ */
	two(PUSH, 0), two(SET, PRIMES), two(PUSH, 2), two(SET, I);
	top = length;
	two(GET, I), two(PUSH, LIMIT), one(LESS), out = ahead(UNLESS);
	two(GET, I), one(LOAD), next = ahead(UNLESS);
	two(INC, PRIMES);
	/* for k = i + i; k < LIMIT; k += i: heap[k] = 0 */
	two(GET, I), one(DUP), one(ADD), two(SET, K);
	inner = length;
	two(GET, K), two(PUSH, LIMIT), one(LESS);
	even = ahead(UNLESS);
	two(GET, K), two(PUSH, 0), one(STORE), two(GET, K), two(GET, I), one(ADD), two(SET, K), two(JUMP, inner);
	land(even);
	land(next);
	two(INC, I), two(JUMP, top);
	land(out);
	/* for n = 27; n != 1; steps++: n = n & 1 ? n * 3 + 1 : n >> 1 */
	two(PUSH, 0), two(SET, STEPS), two(PUSH, 27), two(SET, N);
	top = length;
	two(GET, N), two(PUSH, 1), one(EQUAL), one(NOT), out = ahead(UNLESS);
	two(GET, N), two(PUSH, 1), one(AND), even = ahead(UNLESS);
	two(GET, N), two(PUSH, 3), one(MUL), two(PUSH, 1), one(ADD), odd = ahead(JUMP);
	land(even);
	two(GET, N), two(PUSH, 1), one(SHIFT);
	land(odd);
	two(SET, N), two(INC, STEPS), two(JUMP, top);
	land(out);
	two(GET, PRIMES), two(PUSH, 1000), one(MUL), two(GET, STEPS), one(ADD), one(HALT);
}

/* execute returns what is on top of the stack at the end, or -1 for a program that is wrong. */
static int32_t execute(void)
{
	int32_t stack[STACK], variables[VARIABLES] = {0}, a;
	uint32_t pc = 0, top = 0;

	while (pc < LONGEST - 1 && top < STACK - 1) {
		int32_t argument = program[pc + 1];

		/* What pops two stays on the stack when there is less. */
		switch (program[pc++]) {
		case HALT:
			return top ? stack[top - 1] : -1;
		case PUSH:
			stack[top++] = argument;
			pc++;
			break;
		case GET:
			stack[top++] = variables[argument & (VARIABLES - 1)];
			pc++;
			break;
		case SET:
			if (!top)
				return -1;
			variables[argument & (VARIABLES - 1)] = stack[--top];
			pc++;
			break;
		case INC:
			variables[argument & (VARIABLES - 1)]++;
			pc++;
			break;
		case JUMP:
			pc = (uint32_t)argument;
			break;
		case UNLESS:
			if (!top)
				return -1;
			pc = stack[--top] ? pc + 1 : (uint32_t)argument;
			break;
#define TWO(op, result) \
		case op: \
			if (top < 2) \
				return -1; \
			a = stack[--top]; \
			stack[top - 1] = (result); \
			break
		TWO(ADD, stack[top - 1] + a);
		TWO(SUB, stack[top - 1] - a);
		TWO(MUL, stack[top - 1] * a);
		TWO(MOD, a > 0 ? stack[top - 1] % a : 0);
		TWO(SHIFT, stack[top - 1] >> (a & 31));
		TWO(AND, stack[top - 1] & a);
		TWO(OR, stack[top - 1] | a);
		TWO(XOR, stack[top - 1] ^ a);
		TWO(LESS, stack[top - 1] < a);
		TWO(EQUAL, stack[top - 1] == a);
#define ONE(op, what) \
		case op: \
			if (!top) \
				return -1; \
			what; \
			break
		ONE(NOT, stack[top - 1] = !stack[top - 1]);
		ONE(NEGATE, stack[top - 1] = -stack[top - 1]);
		ONE(DROP, top--);
		ONE(DUP, (stack[top] = stack[top - 1], top++));
		case LOAD:
			if (!top || (uint32_t)stack[top - 1] >= LIMIT)
				return -1;
			stack[top - 1] = heap[stack[top - 1]];
			break;
		case STORE:
			if (top < 2 || (uint32_t)stack[top - 2] >= LIMIT)
				return -1;
			heap[stack[top - 2]] = stack[top - 1];
			top -= 2;
			break;
		case SWAP:
			if (top < 2)
				return -1;
			a = stack[top - 1];
			stack[top - 1] = stack[top - 2];
			stack[top - 2] = a;
			break;
		default:
			return -1;
		}
	}
	return -1;
}

EXPORT("run") uint32_t run(uint32_t turns)
{
	uint32_t sum = 0;

	for (; turns; turns--)
		sum = mix(sum, (uint32_t)execute());
	return sum;
}
