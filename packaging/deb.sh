#!/usr/bin/env bash
# deb.sh OUT builds a Debian package into the folder OUT, and prints its path. See README.md here.
set -euo pipefail
[ $# = 1 ] || { echo "usage: packaging/deb.sh OUT" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
version=${VERSION:-0~$(TZ=UTC git log -1 --date=format-local:%Y%m%d.%H%M%S --format=%cd.%h)}
architecture=$(dpkg-deb --version >/dev/null && dpkg --print-architecture)

umask 022
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
put() { # put MODE FILE... FOLDER
  local mode=$1
  shift
  mkdir -p "$root/${*: -1}"
  install -m "$mode" "${@:1:$#-1}" "$root/${*: -1}/"
}

flags=(-trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$version")
mkdir -p "$root/usr/bin"
CGO_ENABLED=0 go build "${flags[@]}" -o "$root/usr/bin/bulkhead" ./cmd/bulkhead
put 644 packaging/bulkhead.toml etc/bulkhead
put 644 examples/echo/echo.wasm usr/share/bulkhead
put 644 packaging/bulkhead.service usr/lib/systemd/system
install -D -m 644 packaging/sysusers.conf "$root/usr/lib/sysusers.d/bulkhead.conf"

mkdir -p "$root/usr/share/man/man1"
CGO_ENABLED=0 go run -tags manpages "${flags[@]}" ./cmd/bulkhead "$root/usr/share/man/man1"
gzip -9n "$root/usr/share/man/man1"/*
for shell in bash:bash-completion/completions/bulkhead zsh:zsh/vendor-completions/_bulkhead \
  fish:fish/vendor_completions.d/bulkhead.fish; do
  mkdir -p "$(dirname "$root/usr/share/${shell#*:}")"
  "$root/usr/bin/bulkhead" completion "${shell%%:*}" > "$root/usr/share/${shell#*:}"
done

put 644 README.md ARCHITECTURE.md RATIONALE.md usr/share/doc/bulkhead
put 644 docs/*.md usr/share/doc/bulkhead/docs
put 644 abi/ABI.md usr/share/doc/bulkhead/abi
put 644 packaging/alerts.yml packaging/dashboard.json usr/share/bulkhead
install -m 644 LICENSE "$root/usr/share/doc/bulkhead/copyright"

mkdir "$root/DEBIAN"
install -m 755 packaging/debian/p* "$root/DEBIAN/"
install -m 644 packaging/debian/conffiles "$root/DEBIAN/"
size=$(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%s\n' | awk '{n += int(($1 + 1023) / 1024)} END {print n}')
sed "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@SIZE@/$size/" packaging/debian/control > "$root/DEBIAN/control"
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | LC_ALL=C sort | xargs md5sum) > "$root/DEBIAN/md5sums"

package="$out/bulkhead_${version}_$architecture.deb"
dpkg-deb --root-owner-group --build "$root" "$package" >/dev/null
echo "$package"
