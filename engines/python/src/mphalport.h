/* What MicroPython wants of its port: where print writes. */
#include <stddef.h>

void mp_hal_stdout_tx_strn_cooked(const char *s, size_t len);
