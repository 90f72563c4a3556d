# Limits of version 2: set, enforced, changed while a container runs, taken away, refused.
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
same "$(stackpy run --rm --cpus 0.5 "$image" cat /sys/fs/cgroup/cpu.max)" "50000 100000" "cpu.max inside"

# What exec starts has the container's limits, and its end is not the container's.
stackpy run -d --name small --init --memory 64m --pids-limit 10 "$image" sleep 600 > /dev/null
set +e
stackpy exec small python3 -c 'x = b"x" * 200000000'
same $? 137 "a command over its container's memory limit"
stackpy exec small python3 -c '
import os
try:
    for child in range(50):
        if not os.fork(): os.read(os.pipe()[0], 1)
except OSError: raise SystemExit(7)'
same $? 7 "processes of a command under its container's limit"
set -e
group small memory.events | grep -q '^oom_kill 1$' || fail "memory.events counts what was killed"
same "$(field small .State.Status)" running "a container whose command was killed"
stackpy rm -f small > /dev/null

# Every limit of version 2, set, changed while it runs and taken away; what is set before its first process starts.
stackpy run -d --name limits --init --memory 64m --memory-swap 96m --memory-reservation 32m --cpu-shares 512 \
  --cpu-quota 20000 --cpu-period 50000 --cpuset-cpus 0 --pids-limit 20 --device-write-bps /dev/vda:1mb \
  --ulimit nofile=40:50 --sysctl kernel.msgmax=9000 --sysctl net.ipv4.ip_default_ttl=77 --sysctl fs.mqueue.msg_max=5 \
  --shm-size 1m --oom-score-adj 5 "$image" sleep 600 > /dev/null
limits() { for file in memory.max memory.swap.max memory.low cpu.weight cpu.max cpuset.cpus pids.max io.max; do group limits $file; done | tr '\n' ' '; }
device=$(python3 -c 'import os; number = os.stat("/dev/vda").st_rdev; print(f"{os.major(number)}:{os.minor(number)}")')
same "$(limits)" "67108864 33554432 33554432 20 20000 50000 0 20 $device rbps=max wbps=1048576 riops=max wiops=max " "limits"
stackpy update --memory 128m --memory-swap -1 --memory-reservation 0 --cpu-quota -1 --cpu-period 0 --cpus 0.5 \
  --cpu-shares 0 --pids-limit 30 limits > /dev/null
same "$(limits | cut -d' ' -f1-8)" "134217728 max 0 100 50000 100000 0 30" "limits after an update"
files="/proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_default_ttl /proc/sys/fs/mqueue/msg_max /proc/1/comm"
# Not by the shell's `read`, which asks for one byte at a time: of a number the kernel then gives its first digit alone.
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
until_true "it holds its memory" sh -c 'stackpy logs large | grep -q held'
stackpy update --memory 16m large 2>&1 | grep -q 'more than a limit of 16777216' || fail "a limit below what is used"
same "$(stackpy inspect large | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["State"]["Status"])')" running "large"
stackpy rm -f large > /dev/null
for refused in "--memory-swappiness 5" "--oom-kill-disable --memory 64m" "--cpu-rt-runtime 1000"; do
  stackpy run --rm $refused "$image" true 2>&1 | grep -q 'control groups of version 2' || fail "$refused is not refused"
done
