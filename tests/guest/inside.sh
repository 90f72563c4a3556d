# The quickstart, the limits and loaded layers, on an older Linux with cgroup version 2: run by run.sh inside the guest.
set -eu
stackpy() { python3 -m stackpy.cli.main "$@"; }
fail() { echo "FAILED: $*"; exit 1; }
same() { [ "$1" = "$2" ] || fail "$3: $1, not $2"; }

stackpy system check
cd /root/quickstart
# Emulated, a start takes seconds: the health checks are given them.
sed -i 's/interval=1)/interval=1, retries=60)/' stack.py
stackpy apply --yes
for visit in 1 2 3 4; do
  python3 -c "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/', timeout=20).read().decode(), end='')"
done | tee /tmp/visits
same "$(cut -d, -f1 /tmp/visits | sort -u | wc -l)" 2 "replicas that answered"
same "$(stackpy exec web.1 sh -c 'read x < /sys/fs/cgroup/memory.max; echo $x')" 134217728 "memory.max inside"
same "$(stackpy exec web.1 sh -c 'read x < /proc/self/cgroup; echo $x')" "0::/" "the cgroup namespace"
same "$(stackpy plan | head -1 | sed 's/.* · //')" "nothing to change" "a second plan"

# Rules that somebody flushes come back: before Linux 6.9 nobody can keep others from flushing them.
nft flush ruleset
for wait in 1 2 3 4 5 6 7 8 9 10; do nft list tables | grep -q 'table ip stackpy' && break; sleep 1; done
python3 -c "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/', timeout=20)" || fail "the port after a flush"

image=quickstart/web:latest
set +e
stackpy run --rm --memory 32m "$image" python3 -c 'x = b"x" * 200000000'
same $? 137 "a container over its memory limit"
stackpy run --rm --pids-limit 5 "$image" python3 -c '
import os
children = 0
try:
    while children < 50:
        if not os.fork(): os.read(os.pipe()[0], 1)
        children += 1
except OSError: pass
raise SystemExit(children)'
same $? 4 "processes under a limit of 5"
set -e
same "$(stackpy run --rm --cpus 0.5 "$image" sh -c 'read x < /sys/fs/cgroup/cpu.max; echo $x')" "50000 100000" "cpu.max inside"

# What is loaded stays a tar from Linux 6.12 on, and is a folder before; containers and steps see no difference.
stackpy save -o /root/web.tar "$image"
stackpy load -i /root/web.tar
indexes=$(find /var/lib/stackpy/layers -name '*.erofs' | wc -l)
case $(uname -r) in
  6.1.*) same "$indexes" 0 "layers that are tars" ;;
  *) [ "$indexes" -gt 0 ] || fail "no layer is a tar" ;;
esac
same "$(stackpy run --rm "$image" sh -c 'echo x > /app/new; read x < /app/new; echo $x')" x "a loaded image"
mkdir /root/over
cat > /root/over/stack.py <<END
from stackpy import Container, Image, Stack
Stack("over")
Container("web", image=Image("$image").run("echo made > /app/made").workdir("/deep/er").copy("stack.py", "./"))
END
(cd /root/over && stackpy build)
same "$(stackpy run --rm over/web:latest sh -c 'read x < /app/made; echo $x /deep/er/*')" "made /deep/er/stack.py" "steps over it"

stackpy destroy --yes --volumes
for wait in 1 2 3 4 5 6 7 8 9 10; do [ -z "$(find /sys/fs/cgroup -name 'stackpy*')" ] && break; sleep 1; done
same "$(find /sys/fs/cgroup -name 'stackpy*'; nft list tables; ls /sys/class/net; grep stackpy /proc/mounts)" lo "what is left"
