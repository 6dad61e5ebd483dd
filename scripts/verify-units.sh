#!/usr/bin/env bash
# Checks the systemd units as `make install` writes them, in both profiles: no unknown key, no wrong value, nothing that
# is not there, and no less of a sandbox than is said.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The units' programs must exist and be executable; which ones they are does not matter here.
mkdir "$folder/stubs"
for program in jobd jobctl jobd-shim; do
    cp /bin/true "$folder/stubs/$program"
done

# verify PROFILE EXPOSURE - the exposure is ten times what `systemd-analyze security` says; 0 would be none.
verify() {
    local place="$folder/$1" words unit
    make -s install PROFILE="$1" BIN="$folder/stubs" PREFIX="$place" SYSCONFDIR="$place/etc" \
        UNITDIR="$place/units" SYSUSERSDIR="$place/sysusers" >/dev/null
    # It warns on stderr and exits with 0 for keys it does not know, so any word about our units is a failure.
    words=$(systemd-analyze verify --man=no "$place"/units/jobd*.service "$place"/units/jobd*.timer 2>&1) || { echo "$words" >&2; return 1; }
    if grep -F "jobd" <<<"$words" >&2; then
        return 1
    fi
    words=$(systemd-analyze security --offline=true --no-pager --threshold="$2" "$place/units/jobd.service") \
        || { echo "$words" >&2; return 1; }
    tail -n 1 <<<"$words" | sed "s/^→/profile $1: &/"
}

verify root 41
verify hardened 20
