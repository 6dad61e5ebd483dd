#!/usr/bin/env bash
# Checks the systemd unit as `make install` would write it: no unknown key, no wrong value, nothing that is not there.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/bin" "$folder/share/doc/jobctl"
# The unit's program must exist and be executable; which one it is does not matter here.
ln -s /bin/true "$folder/bin/jobd"
sed "s|@PREFIX@|$folder|g" systemd/jobd.service >"$folder/jobd.service"

# It warns on stderr and exits with 0 for keys it does not know, so any word about the unit is a failure.
words=$(systemd-analyze verify --man=no "$folder/jobd.service" 2>&1) || { echo "$words" >&2; exit 1; }
if grep -F "jobd.service" <<<"$words" >&2; then
    exit 1
fi
