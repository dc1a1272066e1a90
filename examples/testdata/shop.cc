// A guest in C++, with DWARF, that traps in a member of a template, inlined into a lambda, inlined
// into a member function in a namespace: at any line that begins with Gb.
#include "../../sdk/c/csa.h"

extern "C" {
CSA_DEFINE_WINDOW(window, 4096)
}

namespace shop {

template <class T> struct Shelf {
	T *things;
	T at(int i) const { return things[i]; }
};

struct Shop {
	int sell(const char *order, int n) const;
};

__attribute__((noinline)) int Shop::sell(const char *order, int n) const
{
	Shelf<int> shelf{(int *)0xfffffff0u};
	auto find = [&](char c) {
		for (int i = 0; i < n; i++)
			if (order[i] == c)
				return shelf.at(i);
		return 0;
	};
	return find('b');
}

} // namespace shop

extern "C" int32_t csa_data(int32_t conn, int32_t len)
{
	if (window[0] == 'G')
		return shop::Shop{}.sell((char *)window, len);
	return csa_v1_send(conn, window, len);
}
