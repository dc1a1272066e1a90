#!/usr/bin/env bash
# Builds python.wasm: MicroPython 1.25.0, and the files in src and in ../guest.
#
#   engines/python/build.sh           build it, in place
#   engines/python/build.sh --check   build it elsewhere, and fail if the one here differs
#
# The same sources and the same compiler give the same bytes. It takes clang 19, which makes
# WebAssembly exceptions of setjmp, Debian's C library for WASI, and Python, for MicroPython's own
# scripts: apt-get install clang-19 lld-19 libclang-rt-19-dev-wasm32 wasi-libc xz-utils python3
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1

# What the engine is built of, from Debian's package micropython 1.25.0+ds-1: trim.sh makes it.
archive=micropython_1.25.0.trimmed.tar.xz
sum=e2e83c690d6cbaa4e1060da2afa0d962694aa3d07138bb62aa159de2f0ee4aef

fail() {
	echo "engines/python/build.sh: $*" >&2
	exit 1
}

check=no
case "${1-}" in
'') ;;
--check) check=yes ;;
*)
	echo "usage: engines/python/build.sh [--check]" >&2
	exit 2
	;;
esac
for tool in clang-19 wasm-ld-19 xz python3; do
	command -v "$tool" >/dev/null || fail "there is no $tool; install what is needed with: apt-get install clang-19 lld-19 libclang-rt-19-dev-wasm32 xz-utils python3"
done
[ -e /usr/lib/wasm32-wasi/libc.a ] || fail "there is no C library for WASI; install it with: apt-get install wasi-libc"
echo "$sum  $archive" | sha256sum --check --quiet || fail "$archive is not the one that trim.sh has made"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
top=$work/micropython
mkdir -p "$top" "$work/genhdr"
tar -xJf "$archive" -C "$top" --no-same-owner
cmp -s LICENSE "$top/LICENSE" || fail "LICENSE is not MicroPython's; copy it out of $archive"

# replace FILE OLD NEW: changes the one place that has OLD.
replace() {
	[ "$(grep -cF -- "$2" "$top/$1")" = 1 ] || fail "$1 is not as it was: it should have once: $2"
	OLD=$2 NEW=$3 python3 -c 'import os, sys
s = open(sys.argv[1]).read()
open(sys.argv[1], "w").write(s.replace(os.environ["OLD"], os.environ["NEW"]))' "$top/$1"
}
# The engine's own mp_execute_bytecode counts calls of it: see src/collect.c.
replace py/vm.c 'MICROPY_WRAP_MP_EXECUTE_BYTECODE(mp_execute_bytecode)' execute_frame
replace py/pystack.c 'mp_raise_type_arg(&mp_type_RuntimeError, MP_OBJ_NEW_QSTR(MP_QSTR_pystack_space_exhausted));' \
	'mp_raise_recursion_depth();'
# Imports are of files that the host has put behind the script, without a path to look along.
[ "$(grep -c '^ *#if MICROPY_PY_SYS$' "$top/py/builtinimport.c")" = 2 ] || fail "py/builtinimport.c is not as it was"
sed -i 's/^\( *\)#if MICROPY_PY_SYS$/\1#if MICROPY_PY_SYS_PATH/' "$top/py/builtinimport.c"
replace py/builtinimport.c "\"no module named '%q'\"), full_mod_name" \
	"\"no module named '%q', neither of the engine nor among the files that the script's import statements name\"), full_mod_name"
replace py/runtime.c '"can'"'"'t import name %q"' '"can'"'"'t import name %q: its file does not define it, or not yet, as files import each other in a circle; let one of them import the other inside of a function"'
# A search for room passes what is full by words: else many large values take time squared.
replace py/gc.c 'byte a = area->gc_alloc_table_start[i];' \
	'i = pass_full(area->gc_alloc_table_start, i, area->gc_alloc_table_byte_len, &n_free);
	if (i >= area->gc_alloc_table_byte_len)
		break;
	byte a = area->gc_alloc_table_start[i];'
# The collector knows the stack of frames, and not what only a local of C points at.
replace py/objclosure.c 'mp_obj_t *args2 = m_new(mp_obj_t, n_total);' 'mp_obj_t *args2 = mp_pystack_alloc(n_total * sizeof(mp_obj_t));'
replace py/objclosure.c 'm_del(mp_obj_t, args2, n_total);' 'mp_pystack_free(args2);'
replace py/objclosure.c '#include "py/runtime.h"' '#include "py/runtime.h"
#include "py/pystack.h"'
# Its frames have nothing in memory that the check of the stack would see: see src/collect.c.
replace lib/re1.5/recursiveloop.c 're1_5_stack_chk();' 'volatile char here; check_regex_depth((void *)&here);'
# Values in each other may be deep, and nothing else sees how deep the stack is then.
replace py/obj.c 'while (pass_number < 2) {' 'volatile char here;
    check_depth((void *)&here);
    while (pass_number < 2) {'
replace py/objtuple.c 'mp_int_t hash = (mp_int_t)mp_const_empty_tuple;' 'volatile char here;
            check_depth((void *)&here);
            mp_int_t hash = (mp_int_t)mp_const_empty_tuple;'
replace py/objset.c 'mp_int_t hash = (mp_int_t)(uintptr_t)&mp_type_frozenset;' 'volatile char here;
                check_depth((void *)&here);
                mp_int_t hash = (mp_int_t)(uintptr_t)&mp_type_frozenset;'
rm "$top/extmod/modjson.c" # src/json.c is instead

flags=(--target=wasm32-wasi -Wno-deprecated --sysroot=/usr -O2 -mbulk-memory -DNDEBUG
	-fwasm-exceptions -mllvm -wasm-enable-sjlj
	-I../../sdk/c -I../../sdk/c/setjmp -Isrc -I"$work" -I"$top"
	-ffile-prefix-map="$work"=python -ffile-prefix-map="$PWD"=engine)
ours=(src/*.c ../guest/*.c ../../sdk/c/setjmp/setjmp.c)

cat >"$work/genhdr/mpversion.h" <<'HEADER'
#define MICROPY_GIT_TAG "v1.25.0"
#define MICROPY_GIT_HASH ""
#define MICROPY_BUILD_DATE "2025-04-15"
HEADER

# MicroPython's scripts collect from all files the names, the modules and the roots.
for file in "$top"/py/*.c "$top"/extmod/*.c src/*.c; do
	clang-19 "${flags[@]}" -w -DNO_QSTR -E "$file"
done >"$work/preprocessed"
for kind in qstr module root_pointer; do
	python3 "$top/py/makeqstrdefs.py" split $kind "$work/preprocessed" "$work/$kind.parts" _ >"$work/said"
	python3 "$top/py/makeqstrdefs.py" cat $kind _ "$work/$kind.parts" "$work/$kind" >"$work/said"
done
cat "$top/py/qstrdefs.h" "$work/qstr" | sed 's/^Q(.*)/"&"/' | clang-19 "${flags[@]}" -E -x c - |
	sed 's/^"\(Q(.*)\)"/\1/' >"$work/qstrdefs"
python3 "$top/py/makeqstrdata.py" "$work/qstrdefs" >"$work/genhdr/qstrdefs.generated.h"
python3 "$top/py/makemoduledefs.py" "$work/module" >"$work/genhdr/moduledefs.h"
python3 "$top/py/make_root_pointers.py" "$work/root_pointer" >"$work/genhdr/root_pointers.h"

objects=()
for file in "$top"/py/*.c "$top"/extmod/*.c; do
	objects+=("$work/$(basename "$file" .c).o")
done
printf '%s\0' "$top"/py/*.c "$top"/extmod/*.c |
	xargs -0 -P "$(nproc)" -I{} sh -c 'file=$1 work=$2; shift 2
		exec clang-19 "$@" -w -c "$file" -o "$work/$(basename "$file" .c).o"' sh {} "$work" "${flags[@]}" ||
	fail "MicroPython does not build"
for file in "${ours[@]}"; do
	name=our-$(basename "$file" .c)
	clang-19 "${flags[@]}" -std=c2x -fms-extensions -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
		-Wno-microsoft-anon-tag -Wno-missing-field-initializers -c "$file" -o "$work/$name.o"
	objects+=("$work/$name.o")
done

# The stack comes first of all, so that an overflow traps and overwrites nothing.
clang-19 --target=wasm32-wasi -Wno-deprecated --sysroot=/usr -mexec-model=reactor -Wl,--strip-all -Wl,--stack-first \
	-Wl,-z,stack-size=262144 -Wl,--export=bulkhead_script -Wl,--export=bulkhead_where "${objects[@]}" -lm -o "$work/python.wasm"
chmod 644 "$work/python.wasm"

if [ "$check" = yes ]; then
	cmp -s python.wasm "$work/python.wasm" || fail "python.wasm is not what its source builds to; run: engines/python/build.sh"
	echo "engines/python/python.wasm is what its source builds to"
	exit
fi
cp "$work/python.wasm" python.wasm
ls -l python.wasm
