#!/usr/bin/env bash
# Makes the archive that build.sh takes MicroPython from: what the engine is built of, out of the
# source of Debian's package micropython 1.25.0+ds-1, unchanged. The whole has 6 MB.
#
#   apt-get source --download-only micropython    # with a deb-src line for trixie
#   engines/python/trim.sh micropython_1.25.0+ds.orig.tar.xz
#
# The archive's sum is in build.sh. Another version of xz may make other bytes of the same files.
set -euo pipefail

source=$(realpath "${1:?the source archive of the package}")
cd "$(dirname "${BASH_SOURCE[0]}")"
export LC_ALL=C

# The package's .dsc has this sum.
echo "7b25be99a502f070b2de81dafc08da7051d992325d6e67daa9045a918fffdbea  $source" | sha256sum --check --quiet

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xJf "$source" -C "$work" --strip-components=1 --no-same-owner
(
	cd "$work"
	for file in LICENSE py/*.c py/*.h py/make*.py extmod/mod{json,re,binascii,random,heapq}.c extmod/virtpin.h extmod/misc.h extmod/modplatform.h lib/re1.5/*; do
		case $file in
		py/asm*.c | py/emitn[dtaxi]* | py/emitnrv32.c | py/emitinline* | py/nlr[!.s]* | py/makecompresseddata.py) ;;
		*) echo "$file" ;;
		esac
	done | tar -cf micropython.tar --no-recursion --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
		--mode=u=rw,go=r --files-from=-
	xz -9 micropython.tar
)
mv "$work/micropython.tar.xz" micropython_1.25.0.trimmed.tar.xz
sha256sum micropython_1.25.0.trimmed.tar.xz
