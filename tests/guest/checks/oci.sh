# Bundles: the same sandbox without our processes, with the limits of version 2.
bundle=/tmp/bundle
mkdir -p $bundle/rootfs/bin $bundle/rootfs/proc $bundle/rootfs/sys $bundle/rootfs/dev $bundle/rootfs/tmp
cp /usr/bin/busybox $bundle/rootfs/bin/
for applet in sh cat sleep echo id; do ln -s busybox $bundle/rootfs/bin/$applet; done
stackpy-oci spec --bundle $bundle
# bundle WORDS-AS-JSON
bundle() {
  python3 -c '
import json, sys
document = json.load(open(sys.argv[1]))
document["process"] |= {"terminal": False, "args": json.loads(sys.argv[2]), "env": ["PATH=/bin"]}
document["linux"]["resources"] |= {"memory": {"limit": 64 << 20}, "pids": {"limit": 9}, "cpu": {"quota": 20000, "period": 100000}}
document["linux"]["cgroupsPath"] = "/checks/one"
json.dump(document, open(sys.argv[1], "w"))' $bundle/config.json "$1"
}
bundle '["sh", "-c", "id -u; cat /proc/self/cgroup; exit 3"]'
set +e
said=$(stackpy-oci run --bundle $bundle one)
same $? 3 "the exit code of a bundle"
set -e
same "$(echo "$said" | words)" "0 0::/ " "what a bundle sees"
bundle '["sleep", "1000"]'
stackpy-oci create --bundle $bundle one < /dev/null > /dev/null 2>&1
stackpy-oci start one
same "$(cd /sys/fs/cgroup/checks/one && cat memory.max pids.max cpu.max)" "$(printf '67108864\n9\n20000 100000')" "its limits"
stackpy-oci update --pids-limit 11 one
same "$(cat /sys/fs/cgroup/checks/one/pids.max)" 11 "a limit after an update"
same "$(stackpy-oci exec one cat /proc/self/cgroup)" "0::/" "a process of exec"
stackpy-oci pause one
same "$(cat /sys/fs/cgroup/checks/one/cgroup.freeze)" 1 "frozen"
stackpy-oci state one | grep -q '"status": "paused"' || fail "the state of a paused bundle"
stackpy-oci resume one
stackpy-oci events --stats one | python3 -c '
import json, sys
data = json.load(sys.stdin)["data"]
assert data["pids"]["current"] == 1 and data["memory"]["usage"]["limit"] == 64 << 20, data'
stackpy-oci kill one KILL
until_true "it stops" sh -c "stackpy-oci state one | grep -q stopped"
stackpy-oci delete one
[ ! -e /sys/fs/cgroup/checks/one ] || fail "a control group is left"
rmdir /sys/fs/cgroup/checks
