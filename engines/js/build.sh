#!/usr/bin/env bash
# Builds js.wasm: QuickJS, as Debian's source package quickjs has it, and the files in src and in
# ../guest.
#
#   engines/js/build.sh           build it, in place
#   engines/js/build.sh --check   build it elsewhere, and fail if the one here differs
#
# The same sources and the same compiler give the same bytes. It takes clang 19 and Debian's C
# library for WASI: apt-get install clang-19 lld-19 libclang-rt-19-dev-wasm32 wasi-libc
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
export LC_ALL=C

# The archive is that of Debian's package quickjs 2025.04.26-1, unchanged: its .dsc has this sum.
archive=quickjs_2025.04.26.orig.tar.xz
sum=ec81da5b3249ed648dbc7df4a1654988910e66a118d9b71cb63534216efcfbbe
version=2025-04-26

fail() {
	echo "engines/js/build.sh: $*" >&2
	exit 1
}

check=no
case "${1-}" in
'') ;;
--check) check=yes ;;
*)
	echo "usage: engines/js/build.sh [--check]" >&2
	exit 2
	;;
esac
for tool in clang-19 wasm-ld-19 xz; do
	command -v "$tool" >/dev/null || fail "there is no $tool; install what is needed with: apt-get install clang-19 lld-19 xz-utils"
done
[ -e /usr/lib/wasm32-wasi/libc.a ] || fail "there is no C library for WASI; install it with: apt-get install wasi-libc"
echo "$sum  $archive" | sha256sum --check --quiet || fail "$archive is not the one of Debian's package"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xJf "$archive" -C "$work" --strip-components=1 --no-same-owner
cmp -s LICENSE "$work/LICENSE" || fail "LICENSE is not QuickJS's; copy it out of $archive"

# A loop asks now and then whether it may go on: see watch_event of src/engine.c. The engine has to
# know then where it is, and QuickJS writes that down only before calls.
asks='if (unlikely(js_poll_interrupts(ctx)))'
[ "$(grep -cF "$asks" "$work/quickjs.c")" = 7 ] || fail "quickjs.c asks in other places than it did"
sed -i "s|$asks|if (unlikely(--ctx->interrupt_counter <= 0) \&\& (sf->cur_pc = pc + 1, __js_poll_interrupts(ctx)))|" "$work/quickjs.c"

# QuickJS includes setjmp.h, which the C library does not have, and uses nothing of it.
mkdir "$work/none"
: >"$work/none/setjmp.h"

# EMSCRIPTEN switches off threads and what needs computed jumps; the check of the stack's depth
# comes back by itself. No path of this machine gets into the output.
flags=(--target=wasm32-wasi --sysroot=/usr -O2 -mbulk-memory -D_GNU_SOURCE -DEMSCRIPTEN
	-DCONFIG_STACK_CHECK "-DCONFIG_VERSION=\"$version\"" -I"$work/none" -I"$work" -I../../sdk/c
	-ffile-prefix-map="$work"=quickjs -ffile-prefix-map="$PWD"=js)
# An error's stack names the files that a script was made of: see src/lines.h.
patch() { # a line of quickjs.c, and what becomes of it
	[ "$(grep -cF "$1" "$work/quickjs.c")" = 1 ] || fail "quickjs.c has not once: $1"
	sed -i "s|$(sed 's/[][\\.*^$|]/\\&/g' <<<"$1")|$(sed 's/[\\&|]/\\&/g' <<<"$2")|" "$work/quickjs.c"
}
patch 'atom_str ? atom_str : "<null>");' 'written_at(atom_str ? atom_str : "<null>", &line_num1, &col_num1));'
patch 'dbuf_printf(&dbuf, "    at %s", filename);' 'filename = written_at(filename, &line_num, &col_num), dbuf_printf(&dbuf, "    at %s", filename);'
# Text is looked through for what is not ASCII: eight bytes at a time.
patch 'while (p < p_end && *p < 128)' 'for (uint64_t w; p_end - p >= 8 && (memcpy(&w, p, 8), !(w & 0x8080808080808080)); p += 8); while (p < p_end && *p < 128)'
patch 'count += src[pos] >> 7;' 'if (pos == 0 && (pos = (int)count_ascii(src, len)) == len) break; count += src[pos] >> 7;'
objects=()
for name in quickjs cutils libregexp libunicode dtoa; do
	clang-19 "${flags[@]}" -w -include src/lines.h -c "$work/$name.c" -o "$work/$name.o" &
	objects+=("$work/$name.o")
done
# What comes last has its place last: see csa_start.
for file in ../guest/script.c src/[!m]*.c ../guest/[!s]*.c src/m*.c; do
	name=our-$(basename "$(dirname "$file")")-$(basename "$file" .c)
	clang-19 "${flags[@]}" -std=c2x -fms-extensions -include src/memory.h -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
		-Wno-microsoft-anon-tag -Wno-cast-function-type-mismatch -c "$file" -o "$work/$name.o"
	objects+=("$work/$name.o")
done
wait

# The stack comes first of all, so that an overflow traps and overwrites nothing.
clang-19 --target=wasm32-wasi --sysroot=/usr -mexec-model=reactor -Wl,--strip-all -Wl,--stack-first \
	-Wl,-z,stack-size=262144 -Wl,--export=bulkhead_script -Wl,--export=bulkhead_where "${objects[@]}" -lm -o "$work/js.wasm"
chmod 644 "$work/js.wasm"

if [ "$check" = yes ]; then
	cmp -s js.wasm "$work/js.wasm" || fail "js.wasm is not what its source builds to; run: engines/js/build.sh"
	echo "engines/js/js.wasm is what its source builds to"
	exit
fi
cp "$work/js.wasm" js.wasm
ls -l js.wasm
