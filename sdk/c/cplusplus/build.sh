#!/usr/bin/env bash
# Builds libc++.a, LLVM's C++ library with exceptions for WebAssembly: Debian's own is built
# without. It holds libc++, libc++abi and the unwinder, without threads.
#
#   sdk/c/cplusplus/build.sh llvm-toolchain-19_19.1.7.orig.tar.xz FOLDER
#
# The archive is that of Debian's source package; with deb-src among apt's sources,
# "apt-get source --download-only llvm-toolchain-19" fetches it (160 MB). It also takes
# apt-get install clang-19 lld-19 libclang-rt-19-dev-wasm32 wasi-libc libc++-19-dev-wasm32
set -euo pipefail

sum=ae498f3bc58ae2d9f64ef5f0c035c4240152bf015a5b7738b15c22e93bdc97ce
headers=${HEADERS:-/usr/lib/llvm-19/include/wasm32-wasi/c++/v1}

fail() {
	echo "sdk/c/cplusplus/build.sh: $*" >&2
	exit 1
}

[ $# = 2 ] || fail "usage: sdk/c/cplusplus/build.sh llvm-toolchain-19_19.1.7.orig.tar.xz FOLDER"
command -v clang++-19 >/dev/null || fail "there is no clang++-19; install it with: apt-get install clang-19 lld-19"
[ -e "$headers/__config_site" ] || fail "there are no headers in $headers; install them with: apt-get install libc++-19-dev-wasm32, or set HEADERS"
echo "$sum  $1" | sha256sum --check --quiet || fail "$1 is not the archive of Debian's llvm-toolchain-19 19.1.7"
mkdir -p "$2"
out=$(cd "$2" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xJf "$1" -C "$work" --strip-components=1 --no-same-owner --wildcards \
	'*/libcxx/src/*' '*/libcxxabi/include/*' '*/libcxxabi/src/*' '*/libunwind/include/*' '*/libunwind/src/*'
cd "$work"
mkdir objects

common=(--target=wasm32-wasi -Wno-deprecated --sysroot=/usr -O2 -w -fwasm-exceptions -DNDEBUG
	-ffile-prefix-map="$work"=llvm -Ilibunwind/include)
cxx=("${common[@]}" -std=c++23 -nostdinc++ -isystem "$headers" -D_LIBCPP_BUILDING_LIBRARY -D_LIBCXXABI_BUILDING_LIBRARY
	-D_LIBCXXABI_HAS_NO_THREADS -DLIBCXX_BUILDING_LIBCXXABI -Ilibcxxabi/include -Ilibcxxabi/src -Ilibcxx/src)
clang-19 "${common[@]}" -D_LIBUNWIND_HIDE_SYMBOLS -Ilibunwind/src -c libunwind/src/Unwind-wasm.c -o objects/unwind.o
{
	# What is left out needs threads, or is what a build without exceptions has instead.
	ls libcxx/src/*.cpp libcxx/src/ryu/*.cpp | grep -vE 'thread|mutex|future|condition|barrier|atomic|call_once|memory_resource'
	ls libcxxabi/src/*.cpp | grep -vE 'cxa_noexception|cxa_thread_atexit'
} | xargs -P "$(nproc)" -I{} bash -c 'o=$(echo "$1" | tr / -) && shift && "$@" -o "objects/$o.o"' - {} clang++-19 "${cxx[@]}" -c {}
rm -f "$out/libc++.a"
ar rcsD "$out/libc++.a" objects/*.o
ls -l "$out/libc++.a"
