# What a container is given and what not, on this kernel.
show='exec 2>&1; cat /proc/self/uid_map /proc/self/cgroup
grep -E "^(CapEff|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status
for path in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/fs/cgroup/cgroup.procs; do echo b > $path; done
[ -s /proc/kcore ] && echo kcore; cat /proc/1/comm; echo /proc/[0-9]*'
seen=$(stackpy run --rm "$image" sh -c "$show")
set -- $(echo "$seen" | head -1)
[ "$1 $3" = "0 65536" ] && [ "$2" -gt 65536 ] || fail "the IDs of a container: $*"
same "$(echo "$seen" | sed -n 2p)" "0::/" "its control group"
same "$(echo "$seen" | sed -n 3,6p | cut -f2 | words)" "00000000a80425fb 00000000a80425fb 1 2 " "its rights"
same "$(echo "$seen" | grep -c 'cannot create')" 3 "what is kept from it: $seen"
same "$(echo "$seen" | tail -2 | words)" "sh /proc/1 " "processes that it sees"
# Its control group can neither be changed nor left, not in a mount of its own either.
stackpy run -d --name caged --memory 64m --cap-add SYS_ADMIN --security-opt seccomp=unconfined "$image" sleep 600 > /dev/null
stackpy exec caged python3 -c '
import ctypes, os
places = ["/sys/fs/cgroup"]
os.makedirs("/tmp/view")
if not ctypes.CDLL(None).mount(b"none", b"/tmp/view", b"cgroup2", 0, None):
    places.append("/tmp/view")
for place in places:
    for path, text in (("memory.max", "max"), ("cgroup.procs", str(os.getpid())), ("cgroup.subtree_control", "+pids")):
        try:
            open(f"{place}/{path}", "w").write(text)
        except OSError:
            continue
        raise SystemExit(f"{place}/{path} was written")
    try:
        os.mkdir(f"{place}/more")
    except OSError:
        continue
    raise SystemExit(f"a control group was made in {place}")' || fail "a control group was changed"
same "$(group caged memory.max)" 67108864 "a limit after attacks"
stackpy rm -f caged > /dev/null
