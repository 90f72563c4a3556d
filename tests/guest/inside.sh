# Runs checks in the guest, one after another: run.sh says what the guest is and which. A check is a part of this script, and
# depends on no other: it ends it at the first thing that is not so.
set -eu
image=box:latest
fail() { echo "FAILED: $*"; exit 1; }
# same WHAT-WAS-FOUND WHAT-IT-SHOULD-BE ITS-NAME
same() { [ "$1" = "$2" ] || fail "$3: $1, not $2"; }
# until_true ITS-NAME COMMAND...: waits up to two minutes, which an emulated machine may need
until_true() {
  name=$1 count=0; shift
  until "$@" > /dev/null 2>&1; do
    count=$((count + 1)); [ $count -lt 240 ] || fail "not within two minutes: $name"
    sleep 0.5
  done
}
words() { tr '\n' ' '; }
# group CONTAINER FILE...: what its control group says
group() {
  container=$1; shift
  folder=/sys/fs/cgroup$(sed 's/^0:://' "/proc/$(stackpy inspect -f '{{.State.Pid}}' "$container")/cgroup")
  (cd "$folder" && cat "$@")
}
field() { stackpy inspect -f "{{$2}}" "$1"; }

began=$(date +%s)
stackpy system check > /dev/null
mkdir /root/box
cat > /root/box/stack.py <<END
from stackpy import Container, Image, Stack
Stack("box")
Container("box", image=Image.host("python3", "sh", "cat", "sleep", "grep").tag("box"))
END
(cd /root/box && stackpy build)
stackpy run -d --name stays "$image" sleep 86400 > /dev/null # so that our processes stay as well
echo "the image: $(($(date +%s) - began)) s"
for check in $(cat /payload/chosen); do
  began=$(date +%s)
  . /payload/checks/$check.sh
  echo "check $check: $(($(date +%s) - began)) s"
done

stackpy rm -f stays > /dev/null
until_true "no control group is left" sh -c '[ -z "$(find /sys/fs/cgroup -name "stackpy*")" ]'
until_true "no rule, link or mount is left" \
  sh -c '[ "$(nft list tables; ls /sys/class/net; grep stackpy /proc/mounts)" = lo ]'
