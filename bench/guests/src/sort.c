/* Sorts: numbers by quicksort in place, records by a heap with a comparison that is called through
 * a pointer, as qsort's is, and strings the same way. */
#include "guest.h"

enum { NUMBERS = 2048, RECORDS = 512 };

struct record {
	uint32_t key;
	char name[12];
};

static uint32_t given[NUMBERS], numbers[NUMBERS];
static struct record records[RECORDS];
static const struct record *order[RECORDS];

EXPORT("prepare") void prepare(void)
{
	uint32_t seed = 5;

	for (int i = 0; i < NUMBERS; i++)
		given[i] = dice(&seed);
	for (int i = 0; i < RECORDS; i++) {
		records[i].key = dice(&seed) >> 20;
		for (int k = 0; k < 11; k++)
			records[i].name[k] = (char)('a' + (dice(&seed) >> 12) % (k < 3 ? 2 : 26));
	}
}

static void insertion(uint32_t *a, int n)
{
	for (int i = 1; i < n; i++) {
		uint32_t v = a[i];
		int k = i;

		for (; k > 0 && a[k - 1] > v; k--)
			a[k] = a[k - 1];
		a[k] = v;
	}
}

static void quicksort(uint32_t *a, int n)
{
	while (n > 16) {
		uint32_t x = a[0], y = a[n / 2], z = a[n - 1], t;
		uint32_t pivot = x < y ? (y < z ? y : x < z ? z : x) : (x < z ? x : y < z ? z : y);
		int i = 0, k = n - 1;

		while (i <= k) {
			while (a[i] < pivot)
				i++;
			while (a[k] > pivot)
				k--;
			if (i <= k) {
				t = a[i];
				a[i++] = a[k];
				a[k--] = t;
			}
		}
		quicksort(a, k + 1);
		a += i;
		n -= i;
	}
	insertion(a, n);
}

typedef int compare(const struct record *a, const struct record *b);

static int by_key(const struct record *a, const struct record *b)
{
	return a->key < b->key ? -1 : a->key > b->key;
}

static int by_name(const struct record *a, const struct record *b)
{
	const char *p = a->name, *q = b->name;

	while (*p && *p == *q)
		p++, q++;
	return *p - *q;
}

static void sift(const struct record **a, int at, int n, compare *less)
{
	for (int child; (child = 2 * at + 1) < n; at = child) {
		const struct record *t;

		if (child + 1 < n && less(a[child], a[child + 1]) < 0)
			child++;
		if (less(a[at], a[child]) >= 0)
			return;
		t = a[at];
		a[at] = a[child];
		a[child] = t;
	}
}

/* The comparison is chosen at run time, so that the compiler cannot put it in place. */
static compare *volatile orders[] = {by_key, by_name};

static void heapsort(const struct record **a, int n, compare *less)
{
	for (int i = n / 2; i-- > 0;)
		sift(a, i, n, less);
	for (int i = n; --i > 0;) {
		const struct record *t = a[0];

		a[0] = a[i];
		a[i] = t;
		sift(a, 0, i, less);
	}
}

EXPORT("run") uint32_t run(uint32_t turns)
{
	uint32_t sum = 0;

	for (; turns; turns--) {
		for (int i = 0; i < NUMBERS; i++)
			numbers[i] = given[i] ^ turns;
		quicksort(numbers, NUMBERS);
		for (int i = 1; i < NUMBERS; i++)
			if (numbers[i - 1] > numbers[i])
				return 0;
		sum = mix(sum, numbers[NUMBERS / 3]);
		for (uint32_t o = 0; o < COUNT(orders); o++) {
			for (int i = 0; i < RECORDS; i++)
				order[i] = &records[i];
			heapsort(order, RECORDS, orders[o]);
			sum = mix(sum, order[RECORDS / 3]->key);
		}
	}
	return sum;
}
