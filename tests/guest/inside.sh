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

# Every limit of version 2, set, changed while it runs and taken away; what is set before its first process starts.
stackpy run -d --name limits --init --memory 64m --memory-swap 96m --memory-reservation 32m --cpu-shares 512 \
  --cpu-quota 20000 --cpu-period 50000 --cpuset-cpus 0 --pids-limit 20 --device-write-bps /dev/vda:1mb \
  --ulimit nofile=40:50 --sysctl kernel.msgmax=9000 --sysctl net.ipv4.ip_default_ttl=77 --sysctl fs.mqueue.msg_max=5 \
  --shm-size 1m --oom-score-adj 5 "$image" sh -c 'while :; do read x < /dev/random; done' > /dev/null
group() { cat "/sys/fs/cgroup$(sed 's/^0:://' "/proc/$(stackpy inspect limits | python3 -c '
import json, sys; print(json.load(sys.stdin)[0]["State"]["Pid"])')/cgroup")/$1"; }
limits() { for file in memory.max memory.swap.max memory.low cpu.weight cpu.max cpuset.cpus pids.max io.max; do group $file; done | tr '\n' ' '; }
device=$(python3 -c 'import os; number = os.stat("/dev/vda").st_rdev; print(f"{os.major(number)}:{os.minor(number)}")')
same "$(limits)" "67108864 33554432 33554432 20 20000 50000 0 20 $device rbps=max wbps=1048576 riops=max wiops=max " "limits"
stackpy update --memory 128m --memory-swap -1 --memory-reservation 0 --cpu-quota -1 --cpu-period 0 --cpus 0.5 \
  --cpu-shares 0 --pids-limit 30 limits > /dev/null
same "$(limits | cut -d' ' -f1-8)" "134217728 max 0 100 50000 100000 0 30" "limits after an update"
files="/proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_default_ttl /proc/sys/fs/mqueue/msg_max /proc/1/comm"
read='import sys; print(*[open(name).read().strip() for name in sys.argv[1:]])'
same "$(stackpy exec limits python3 -c "$read" $files /proc/self/oom_score_adj)" "9000 77 5 init 5" "surroundings"
same "$(stackpy exec limits sh -c 'ulimit -Sn; ulimit -Hn' | tr '\n' ' ')" "40 50 " "limits of processes"
stackpy rm -f limits > /dev/null
# Version 2 would kill at once what is above a new limit.
stackpy run -d --name large --memory 128m "$image" python3 -c '
import time
held = bytearray(60 << 20)
print("held", flush=True)
time.sleep(600)' > /dev/null
for wait in 1 2 3 4 5 6 7 8 9 10; do stackpy logs large | grep -q held && break; sleep 1; done
stackpy update --memory 16m large 2>&1 | grep -q 'more than a limit of 16777216' || fail "a limit below what is used"
same "$(stackpy inspect large | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["State"]["Status"])')" running "large"
stackpy rm -f large > /dev/null
for refused in "--memory-swappiness 5" "--oom-kill-disable --memory 64m" "--cpu-rt-runtime 1000"; do
  stackpy run --rm $refused "$image" true 2>&1 | grep -q 'control groups of version 2' || fail "$refused is not refused"
done

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

# How much a container may write to its root, where the file system can tell.
mount -o loop,prjquota /root/quota.img /mnt
stackpy --root /mnt/root load -i /root/web.tar > /dev/null
write='
try: open("/x", "wb").write(b"x" * 8000000)
except OSError as error: print(error.errno)
else: print("all")'
same "$(stackpy --root /mnt/root run --rm --storage-opt size=4m "$image" python3 -c "$write")" 122 "writing above storage_opt"
same "$(stackpy --root /mnt/root run --rm --storage-opt size=16m "$image" python3 -c "$write")" all "writing below it"
same "$(stackpy --root /mnt/root run --rm "$image" python3 -c "$write")" all "writing without it"
stackpy run --rm --storage-opt size=4m "$image" true 2>&1 | grep -q 'no project quotas' || fail "no quotas, and no word"

# Devices: on version 2 a BPF program says which may be used.
try='import os, sys
for flags in (os.O_RDONLY, os.O_WRONLY):
    try: os.open(sys.argv[1], flags); print("opened")
    except OSError as error: print(error.errno)'
make='import os
os.mknod("/dev/made", 0o20666, os.makedev(1, 7))
os.mknod("/dev/other", 0o20666, os.makedev(10, 237))
for name in ("made", "other"):
    try: os.open("/dev/" + name, os.O_RDONLY); print("opened")
    except OSError as error: print(error.errno)'
words() { tr '\n' ' '; }
same "$(stackpy run --rm --device /dev/null:/dev/a --device /dev/loop-control:/dev/one:r "$image" python3 -c "$try" /dev/one | words)" "opened 1 " "a device"
same "$(stackpy run --rm --userns host "$image" python3 -c "$make" | words)" "opened 1 " "devices made by root of the host"
same "$(stackpy run --rm --device-cgroup-rule 'c 10:237 rwm' "$image" python3 -c "$make" | words)" "opened opened " "a device rule"
same "$(stackpy run --rm --privileged "$image" python3 -c "$try" /dev/loop-control | words)" "opened opened " "privileged"
same "$(stackpy run --rm --privileged "$image" sh -c 'read x < /sys/fs/cgroup/cgroup.controllers; echo > /sys/fs/cgroup/cgroup.subtree_control && echo written')" written "its control group"
# Namespaces that are shared.
stackpy run -d --name one --ipc shareable "$image" python3 -c 'import time; time.sleep(600)' > /dev/null
same "$(stackpy run --rm --network container:one --pid container:one --ipc container:one "$image" sh -c 'read x < /proc/1/comm; echo $x')" python3 "shared namespaces"
stackpy rm -f one > /dev/null
# What a container uses, as far as this kernel tells.
stackpy run --rm --learn "$image" sh -c 'echo learned' 2>&1 | grep -q 'SCMP_ACT_ALLOW' || fail "nothing was learned"

stackpy destroy --yes --volumes --allow-data-loss "volume.*"
for wait in 1 2 3 4 5 6 7 8 9 10; do [ -z "$(find /sys/fs/cgroup -name 'stackpy*')" ] && break; sleep 1; done
same "$(find /sys/fs/cgroup -name 'stackpy*'; nft list tables; ls /sys/class/net; grep stackpy /proc/mounts)" lo "what is left"
