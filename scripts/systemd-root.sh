#!/usr/bin/env bash
# Makes the root file system that tests/systemd boots, and prints its path. Kept under target/ until this script changes;
# the first time takes a minute or two and downloads Debian's packages from $MIRROR.
set -euo pipefail
cd "$(dirname "$0")/.."
MIRROR=${MIRROR:-http://deb.debian.org/debian}

if [ "$(id -u)" -ne 0 ]; then
    echo "make systemd needs root: it makes a root file system, mounts and control groups; try: sudo make systemd" >&2
    exit 1
fi
# The programs under test are this host's, and need a C library that is no older.
suite=$(. /etc/os-release && [ "$ID" = debian ] && echo "${VERSION_CODENAME-}") || suite=
suite=${suite:-bookworm}
# What a job may want to do that a sandbox could forbid.
packages=systemd,systemd-sysv,dbus,sudo,python3-minimal,iputils-ping,libcap2-bin

key=$({ echo "$suite"; cat scripts/systemd-root.sh; } | sha256sum | cut -c 1-16)
root=$PWD/target/systemd-root/$key
exec 9>target/systemd-root.lock
flock 9
if [ ! -e "$root" ]; then
    scripts/need.sh debootstrap unshare nsenter >&2
    rm -rf target/systemd-root
    mkdir -p target/systemd-root
    echo "making $root" >&2
    debootstrap --variant=minbase --include="$packages" "$suite" "$root.new" "$MIRROR" >&2
    rm -rf "$root.new"/var/cache/apt/archives/*.deb "$root.new"/var/lib/apt/lists/*
    # Nothing that goes to the network or works on its own while a test looks.
    for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
        fstrim.timer systemd-tmpfiles-clean.timer; do
        ln -sf /dev/null "$root.new/etc/systemd/system/$unit"
    done
    # What is told must be there after a reboot, and all of it.
    mkdir -p "$root.new/var/log/journal" "$root.new/etc/systemd/journald.conf.d"
    printf '[Journal]\nRateLimitBurst=0\nSystemMaxUse=64M\n' >"$root.new/etc/systemd/journald.conf.d/test.conf"
    mv "$root.new" "$root"
fi
echo "$root"
