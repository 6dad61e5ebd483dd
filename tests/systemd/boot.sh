#!/bin/sh
# boot.sh GROUP LOWER UPPER - boots the systemd of a tree as the first process of namespaces of its own: LOWER, a list of
# folders for overlayfs, is only read, and what changes is kept in the folder UPPER, for another boot. GROUP is the
# control group (a folder that is not there yet) that this systemd takes for the root of all.
set -eu

if [ $# -eq 3 ]; then
    mkdir "$1"
    echo 0 >"$1/cgroup.procs"
    # It ends with whoever has started it.
    exec unshare --pid --mount --uts --ipc --cgroup --fork --kill-child=KILL "$0" "$@" inside
fi

lower=$2 upper=$3 root=$3/root
mount --make-rprivate /
mkdir -p "$upper/changes" "$upper/work" "$root"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$upper/changes,workdir=$upper/work" "$root"
mount -t proc proc "$root/proc"
for folder in run tmp sys dev; do
    mount -t tmpfs -o mode=755 "$folder" "$root/$folder"
done
chmod 1777 "$root/tmp"
mkdir -p "$root/sys/fs/cgroup" "$root/dev/pts" "$root/dev/shm"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for node in null zero full random urandom tty; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
# A boot of its own, as LXC and nspawn make it.
cat /proc/sys/kernel/random/uuid >"$root/run/boot_id"
mount --bind "$root/run/boot_id" "$root/proc/sys/kernel/random/boot_id"
echo jobd-test >"$root/etc/hostname"
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" /lib/systemd/systemd
