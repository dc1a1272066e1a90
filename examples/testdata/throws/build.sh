#!/usr/bin/env bash
# Builds throws.wasm, with the library that sdk/c/cplusplus/build.sh leaves in a folder:
#
#   examples/testdata/throws/build.sh FOLDER
#
# CI does not build it: the library's source has 160 MB.
set -euo pipefail
[ $# = 1 ] || { echo "usage: examples/testdata/throws/build.sh FOLDER" >&2; exit 2; }
library=$(cd "$1" && pwd)/libc++.a
headers=${HEADERS:-/usr/lib/llvm-19/include/wasm32-wasi/c++/v1}
cd "$(dirname "${BASH_SOURCE[0]}")"
clang++-19 --target=wasm32-wasi -Wno-deprecated --sysroot=/usr -std=c++20 -O2 -Wall -Wextra -Werror -fwasm-exceptions \
	-nostdinc++ -isystem "$headers" -nostdlib++ -mexec-model=reactor -Wl,--export=__cpp_exception \
	-Wl,--strip-all -Wl,--stack-first -Wl,-z,stack-size=32768 throws.cc "$library" -o throws.wasm
chmod 644 throws.wasm
ls -l throws.wasm
