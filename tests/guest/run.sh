#!/usr/bin/env bash
# Runs tests/guest/inside.sh in a virtual machine with Debian's own kernel and cgroup version 2 alone, the hierarchy that
# this repository's CI machine does not have: Linux 6.1, the oldest that the engine supports, or with the argument `trixie`
# 6.12, which mounts layers from their tars and cannot clone such a mount. Emulated (TCG), so it takes minutes; needs root,
# mmdebstrap and qemu-system-x86. Prints what inside.sh prints; ends with its exit code.
set -euo pipefail
release=${1:-bookworm}
case $release in bookworm) python=3.11 ;; trixie) python=3.13 ;; *) echo "error: no release $release" >&2; exit 1 ;; esac
here=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d /var/tmp/stackpy-guest-XXXXXX)
trap 'rm -rf "$work"' EXIT

for program in mmdebstrap qemu-system-x86_64; do
  command -v "$program" >/dev/null || { echo "error: $program is missing" >&2
    echo "hint: apt-get install mmdebstrap qemu-system-x86" >&2; exit 1; }
done
echo "making a guest with Debian's kernel" >&2
mmdebstrap --quiet --variant=minbase \
  --include=linux-image-cloud-amd64,initramfs-tools,python3,nftables,iproute2,libseccomp2,procps,kmod \
  "$release" "$work/root"
packages=$work/root/usr/local/lib/python$python/dist-packages
"$here/.venv/bin/python" -m pip --disable-pip-version-check install --quiet --target "$packages" \
  --python-version $python --only-binary=:all: --implementation cp "$("$here/.venv/bin/python" -m pip wheel --quiet --no-deps \
  --wheel-dir "$work" "$here" >/dev/null && ls "$work"/stackpy-*.whl)"
cp -r "$here/examples/quickstart" "$work/root/root/quickstart"
cp "$here/tests/guest/inside.sh" "$work/root/root/inside.sh"
truncate -s 400M "$work/root/root/quota.img"
mke2fs -q -t ext4 -O project,quota -E quotatype=prjquota "$work/root/root/quota.img"
cat > "$work/root/guest-init" <<'INIT'
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root NO_COLOR=1
mount -t proc proc /proc
mount -t sysfs sys /sys 2>/dev/null
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t cgroup2 none /sys/fs/cgroup
mount -o remount,rw /
modprobe -a overlay veth bridge nf_tables nft_nat nft_masq nft_fib_ipv4 nft_ct loop quota_v2
ip link set lo up
# Not on the console, which is a terminal: one plain line an event.
sh /root/inside.sh > /run/said 2>&1
code=$?
cat /run/said
echo "guest ended with $code"
echo o > /proc/sysrq-trigger
sleep 10
INIT
chmod +x "$work/root/guest-init"
kernel=$(ls "$work"/root/boot/vmlinuz-*) initrd=$(ls "$work"/root/boot/initrd.img-*)
truncate -s 3G "$work/disk"
mke2fs -q -t ext4 -d "$work/root" "$work/disk"
timeout 1200 qemu-system-x86_64 -accel tcg -cpu max -m 2G -nographic -no-reboot -nic none \
  -kernel "$kernel" -initrd "$initrd" -append "root=/dev/vda console=ttyS0 quiet init=/guest-init panic=1" \
  -drive "file=$work/disk,if=virtio,format=raw" | tr -d '\r' | tee "$work/said"
grep -q '^guest ended with 0$' "$work/said"
