# Builds MicroPython. The scripts that build the engine, and what measures it, source this file:
# it wants their functions fail, and of variables work, a folder to work in, and python, this one.

# What the engine is built of, from Debian's package micropython 1.25.0+ds-1: trim.sh makes it.
archive=micropython_1.25.0.trimmed.tar.xz
sum=e2e83c690d6cbaa4e1060da2afa0d962694aa3d07138bb62aa159de2f0ee4aef

top=$work/micropython

# unpack_micropython: puts it into $top, changed as the engine needs it.
unpack_micropython() {
	(cd "$python" && echo "$sum  $archive" | sha256sum --check --quiet) || fail "$archive is not the one that trim.sh has made"
	mkdir -p "$top" "$work/genhdr"
	tar -xJf "$python/$archive" -C "$top" --no-same-owner
	cmp -s "$python/LICENSE" "$top/LICENSE" || fail "LICENSE is not MicroPython's; copy it out of $archive"
	change_micropython
	cat >"$work/genhdr/mpversion.h" <<'HEADER'
#define MICROPY_GIT_TAG "v1.25.0"
#define MICROPY_GIT_HASH ""
#define MICROPY_BUILD_DATE "2025-04-15"
HEADER
}

# replace FILE OLD NEW: changes the one place that has OLD.
replace() {
	[ "$(grep -cF -- "$2" "$top/$1")" = 1 ] || fail "$1 is not as it was: it should have once: $2"
	OLD=$2 NEW=$3 python3 -c 'import os, sys
s = open(sys.argv[1]).read()
open(sys.argv[1], "w").write(s.replace(os.environ["OLD"], os.environ["NEW"]))' "$top/$1"
}

change_micropython() {
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
}

# compile_micropython FLAG...: compiles it with these, and what its scripts find in the files of
# $ours, and adds to $objects.
compile_micropython() {
	local file kind
	# MicroPython's scripts collect from all files the names, the modules and the roots.
	for file in "$top"/py/*.c "$top"/extmod/*.c "${ours[@]}"; do
		clang-19 "$@" -w -DNO_QSTR -E "$file"
	done >"$work/preprocessed"
	for kind in qstr module root_pointer; do
		python3 "$top/py/makeqstrdefs.py" split $kind "$work/preprocessed" "$work/$kind.parts" _ >"$work/said"
		python3 "$top/py/makeqstrdefs.py" cat $kind _ "$work/$kind.parts" "$work/$kind" >"$work/said"
	done
	cat "$top/py/qstrdefs.h" "$work/qstr" | sed 's/^Q(.*)/"&"/' | clang-19 "$@" -E -x c - |
		sed 's/^"\(Q(.*)\)"/\1/' >"$work/qstrdefs"
	python3 "$top/py/makeqstrdata.py" "$work/qstrdefs" >"$work/genhdr/qstrdefs.generated.h"
	python3 "$top/py/makemoduledefs.py" "$work/module" >"$work/genhdr/moduledefs.h"
	python3 "$top/py/make_root_pointers.py" "$work/root_pointer" >"$work/genhdr/root_pointers.h"

	for file in "$top"/py/*.c "$top"/extmod/*.c; do
		objects+=("$work/$(basename "$file" .c).o")
	done
	printf '%s\0' "$top"/py/*.c "$top"/extmod/*.c |
		xargs -0 -P "$(nproc)" -I{} sh -c 'file=$1 work=$2; shift 2
			exec clang-19 "$@" -w -c "$file" -o "$work/$(basename "$file" .c).o"' sh {} "$work" "$@" ||
		fail "MicroPython does not build"
}
