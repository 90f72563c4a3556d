#!/usr/bin/env bash
# Runs tests/guest/inside.sh in a virtual machine with Debian's own kernel and cgroup version 2 alone, the hierarchy that
# this repository's CI machine does not have: Linux 6.1, the oldest that the engine supports, or with the argument `trixie`
# 6.12, which mounts layers from their tars and cannot clone such a mount. Emulated (TCG): it takes minutes, and some more for
# the system, which is made once for each set of packages and kept below /var/tmp. Needs root, mmdebstrap and
# qemu-system-x86. Prints what inside.sh prints; ends with its exit code.
#
#     tests/guest/run.sh [bookworm|trixie [CHECK...]]
#
# A kernel has one of AppArmor and SELinux: the check `selinux` boots the other one, and is not among those that always run.
set -euo pipefail
release=${1:-bookworm}
shift || true
chosen=${*:-quickstart isolation apparmor limits life clock images devices oci}
case $chosen in *selinux*) module=selinux ;; *) module=apparmor ;; esac
case $release in bookworm) python=3.11 ;; trixie) python=3.13 ;; *) echo "error: no release $release" >&2; exit 1 ;; esac
here=$(cd "$(dirname "$0")/../.." && pwd)
kept=/var/tmp/stackpy-guest
for program in mmdebstrap qemu-system-x86_64; do
  command -v "$program" >/dev/null || { echo "error: $program is missing" >&2
    echo "hint: apt-get install mmdebstrap qemu-system-x86" >&2; exit 1; }
done
work=$(mktemp -d /var/tmp/stackpy-guest-run-XXXXXX)
trap 'rm -rf "$work"' EXIT

# The system: a disk, a kernel and an initrd, named for what they are made of.
include=linux-image-cloud-amd64,apparmor,checkpolicy,initramfs-tools,python3,nftables,iproute2,libseccomp2,procps,kmod,busybox-static
depends=$("$here/.venv/bin/python" -c 'import sys, tomllib
print("\n".join(tomllib.load(open(sys.argv[1], "rb"))["project"]["dependencies"]))' "$here/pyproject.toml")
system=$kept/$release-$(printf '%s\n' "$include" "$depends" "$(sed -n '/^make_system/,/^}/p' "$0")" | sha256sum | cut -c1-12)

make_system() {
  echo "making a system of $release with Debian's kernel" >&2
  mmdebstrap --quiet --variant=minbase --include="$include" "$release" "$work/root"
  packages=$work/root/usr/local/lib/python$python/dist-packages
  printf '%s\n' "$depends" > "$work/depends"
  "$here/.venv/bin/python" -m pip --disable-pip-version-check install --quiet --target "$packages" \
    --python-version $python --only-binary=:all: --implementation cp -r "$work/depends"
  echo /payload/site > "$packages/stackpy.pth"
  mkdir "$work/root/payload"
  printf '#!/bin/sh\nmount /dev/vdb /payload\nexec sh /payload/init\n' > "$work/root/guest-init"
  chmod +x "$work/root/guest-init"
  truncate -s 400M "$work/root/root/quota.img"
  mke2fs -q -t ext4 -O project,quota -E quotatype=prjquota "$work/root/root/quota.img"
  chroot "$work/root" python3 -m compileall -q /usr/lib/python3 /usr/local/lib >/dev/null || true
  mkdir "$work/system"
  cp "$work"/root/boot/vmlinuz-* "$work/system/vmlinuz"
  cp "$work"/root/boot/initrd.img-* "$work/system/initrd"
  truncate -s 3G "$work/system/disk"
  mke2fs -q -t ext4 -d "$work/root" "$work/system/disk"
  rm -rf "$work/root"
  rm -rf "$kept/$release-"*
  mv "$work/system" "$system"
}
mkdir -p "$kept"
exec {lock}> "$kept/lock"
flock $lock
[ -d "$system" ] || make_system
flock -u $lock

# What is tested, on a disk of its own: our wheel, the quickstart and the checks.
"$here/.venv/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work" "$here" 2>"$work/pip" \
  || { cat "$work/pip" >&2; exit 1; }
mkdir -p "$work/payload/bin"
"$here/.venv/bin/python" -m zipfile -e "$work"/stackpy-*.whl "$work/payload/site"
for program in stackpy stackpy-oci; do
  sed '1s|.*|#!/usr/bin/python3|' "$work"/payload/site/stackpy-*.data/scripts/$program > "$work/payload/bin/$program"
done
chmod +x "$work"/payload/bin/*
[ "$("$here/.venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" != $python ] \
  || "$here/.venv/bin/python" -m compileall -q "$work/payload/site"
echo "$chosen" > "$work/payload/chosen"
cp -r "$here/examples/quickstart" "$here/tests/guest/inside.sh" "$here/tests/guest/checks" "$work/payload"
cat > "$work/payload/init" <<'INIT'
#!/bin/sh
export PATH=/payload/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root NO_COLOR=1
mount -t proc proc /proc
mount -t sysfs sys /sys 2>/dev/null
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t cgroup2 none /sys/fs/cgroup
modprobe -a overlay veth bridge nf_tables nft_nat nft_masq nft_fib_ipv4 nft_ct loop quota_v2
ip link set lo up
# Through a pipe, since the console is a terminal: one plain line an event.
{ sh /payload/inside.sh 2>&1; echo "guest ended with $?"; } | cat
echo o > /proc/sysrq-trigger
sleep 10
INIT
truncate -s 64M "$work/payload.img"
mke2fs -q -t ext4 -d "$work/payload" "$work/payload.img"

# The disks stay as they are: what the guest writes goes into files of QEMU's that have no name.
TMPDIR=$work timeout --foreground 1200 qemu-system-x86_64 -accel tcg -cpu max -smp 2 -m 2G -nographic -no-reboot -nic none -snapshot \
  -kernel "$system/vmlinuz" -initrd "$system/initrd" \
  -append "root=/dev/vda rw console=ttyS0 loglevel=3 panic=1 security=$module init=/guest-init" \
  -drive "file=$system/disk,if=virtio,format=raw" -drive "file=$work/payload.img,if=virtio,format=raw" \
  </dev/null | stdbuf -oL tr -d '\r' | tee "$work/said"
grep -q '^guest ended with 0$' "$work/said"
