#!/usr/bin/env bash
# need.sh COMMAND... - makes sure that commands exist. What is missing is installed from Debian's packages when this
# runs as root; otherwise it says what to install and fails.
set -euo pipefail

package_of() {
    case "$1" in
        cc) echo build-essential ;;
        debootstrap) echo debootstrap ;;
        make) echo make ;;
        python3) echo python3 ;;
        systemd-analyze) echo systemd ;;
        mke2fs) echo e2fsprogs ;;
        timeout) echo coreutils ;;
        qemu-img) echo qemu-utils ;;
        qemu-system-x86_64) echo qemu-system-x86 ;;
        unshare | nsenter) echo util-linux ;;
        cargo)
            echo "cargo is missing: install Rust with https://rustup.rs" >&2
            return 1
            ;;
        *)
            echo "$1 is missing, and no package is known for it" >&2
            return 1
            ;;
    esac
}

packages=()
for command in "$@"; do
    if ! command -v "$command" >/dev/null; then
        package=$(package_of "$command")
        packages+=("$package")
    fi
done

if [ ${#packages[@]} -eq 0 ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing; install with: sudo apt-get install ${packages[*]}" >&2
    exit 1
fi
echo "installing what is missing: ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends "${packages[@]}"
