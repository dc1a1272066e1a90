#!/usr/bin/env bash
# check.sh builds the package twice, in two folders, and wants the same bytes; and tries what is in
# it.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

export SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) VERSION=1.2.3
here=$(packaging/deb.sh "$work/here")
mkdir "$work/copy"
git ls-files -z | xargs -0 cp --parents -t "$work/copy"
there=$("$work/copy/packaging/deb.sh" "$work/there")
cmp "$here" "$there" || { echo "two builds of one commit differ"; exit 1; }

dpkg-deb -x "$here" "$work/root"
dpkg-deb -e "$here" "$work/control"
(cd "$work/root" && md5sum --quiet -c "$work/control/md5sums")
bulkhead="$work/root/usr/bin/bulkhead"
"$bulkhead" --version | grep -q "^bulkhead 1\.2\.3, "
for script in "$work"/control/p*; do sh -n "$script"; done
while read -r file; do
  [ -f "$work/root$file" ] || { echo "$file is a conffile, and is not in the package"; exit 1; }
done < "$work/control/conffiles"

# The configuration holds, with the paths that it has here.
sed "s|/var/lib/bulkhead|$work/state|; s|/usr/share|$work/root/usr/share|" "$work/root/etc/bulkhead/bulkhead.toml" > "$work/bulkhead.toml"
"$bulkhead" check "$work/bulkhead.toml" > "$work/checked" || { cat "$work/checked"; exit 1; }

# Each command has a page, and the shells take their completions.
"$bulkhead" help | sed -n '/^Available Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | grep -vx help | while read -r command; do
  [ -f "$work/root/usr/share/man/man1/bulkhead-$command.1.gz" ] || { echo "$command has no manual page"; exit 1; }
done
bash -n "$work/root/usr/share/bash-completion/completions/bulkhead"
echo "$(basename "$here"): $(stat -c %s "$here") bytes"
