#!/usr/bin/env bash
# vm-image.sh BIN - makes the disk of the virtual machine for `make vm`: Debian 12 with its own kernel and systemd, and
# jobd as `make install` installs it. Writes kernel and disk.img to target/vm. The kernel has the drivers of the disk
# in it, so there is no initrd.
#
# Debian is fetched once (a minute or two); the disk is made of it each time (seconds). No loop device, no mount.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$1
folder=target/vm
mirror=${MIRROR:-http://deb.debian.org/debian}
packages=systemd,systemd-sysv,linux-image-cloud-amd64,kmod,e2fsprogs,procps,sqlite3
disk_size=2G
# What no test needs, and what an emulated machine would spend most of its time on.
masked="systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service
    systemd-logind.service systemd-user-sessions.service systemd-update-utmp.service
    systemd-update-utmp-runlevel.service getty.target e2scrub_reap.service e2scrub_all.timer apt-daily.timer
    apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer systemd-tmpfiles-clean.timer
    systemd-random-seed.service systemd-journal-flush.service
    modprobe@dm_mod.service modprobe@fuse.service modprobe@loop.service modprobe@configfs.service
    modprobe@drm.service modprobe@efi_pstore.service dev-hugepages.mount dev-mqueue.mount
    sys-fs-fuse-connections.mount sys-kernel-debug.mount sys-kernel-tracing.mount"

if [ "$(id -u)" -ne 0 ] || [ "$(uname -m)" != x86_64 ]; then
    echo "make vm needs root, for debootstrap, on x86_64; this is $(id -un) on $(uname -m); try: sudo make vm" >&2
    exit 1
fi
scripts/need.sh debootstrap mke2fs qemu-system-x86_64 qemu-img

# Named by what is in it, so that another list of packages is another tree.
debian=$folder/debian-$(sha256sum <<<"$packages $masked" | cut -c 1-12)
if [ ! -d "$debian" ]; then
    rm -rf "$folder"
    mkdir -p "$folder"
    echo "fetching Debian from $mirror"
    log=$folder/debootstrap.log
    if ! debootstrap --variant=minbase --include="$packages" bookworm "$debian.new" "$mirror" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "debootstrap failed: is $mirror reachable? MIRROR=http://… names another one" >&2
        exit 1
    fi
    rm -rf "$debian.new"/var/cache/apt/archives/*.deb
    # With an identity it is not a first boot.
    echo 0123456789abcdef0123456789abcdef >"$debian.new/etc/machine-id"
    echo vm >"$debian.new/etc/hostname"
    # The line to the tests; there is no udev to load its driver.
    printf 'virtio_pci\nvirtio_console\n' >"$debian.new/etc/modules-load.d/vm.conf"
    for unit in $masked; do
        ln -sf /dev/null "$debian.new/etc/systemd/system/$unit"
    done
    mv "$debian.new" "$debian"
fi

make -s install BIN="$bin" DESTDIR="$PWD/$debian"
# Each machine gets its own.
rm -f "$debian/etc/jobd/jobs.toml"
install -m 0755 tests/vm/agent.sh "$debian/usr/local/bin/agent"
install -m 0644 tests/vm/agent.service "$debian/etc/systemd/system/agent.service"
ln -sf ../agent.service "$debian/etc/systemd/system/multi-user.target.wants/agent.service"
if ! chroot "$debian" /usr/local/bin/jobctl --version >/dev/null; then
    echo "the programs in $bin do not run on Debian 12: this host's C library is a newer one" >&2
    exit 1
fi

cp "$debian"/boot/vmlinuz-* "$folder/kernel"
rm -f "$folder/disk.img"
mke2fs -q -t ext4 -d "$debian" "$folder/disk.img" "$disk_size"
