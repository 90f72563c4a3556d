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
same "$(stackpy run --rm --device /dev/null:/dev/a --device /dev/loop-control:/dev/one:r "$image" python3 -c "$try" /dev/one | words)" "opened 1 " "a device"
same "$(stackpy run --rm --userns host "$image" python3 -c "$make" | words)" "opened 1 " "devices made by root of the host"
same "$(stackpy run --rm --device-cgroup-rule 'c 10:237 rwm' "$image" python3 -c "$make" | words)" "opened opened " "a device rule"
same "$(stackpy run --rm --privileged "$image" python3 -c "$try" /dev/loop-control | words)" "opened opened " "privileged"
same "$(stackpy run --rm --privileged "$image" sh -c 'read x < /sys/fs/cgroup/cgroup.controllers; echo > /sys/fs/cgroup/cgroup.subtree_control && echo written')" written "its control group"
# Namespaces that are shared.
stackpy run -d --name one --ipc shareable "$image" python3 -c 'import time; time.sleep(600)' > /dev/null
same "$(stackpy run --rm --network container:one --pid container:one --ipc container:one "$image" cat /proc/1/comm)" python3 "shared namespaces"
stackpy rm -f one > /dev/null
# What a container uses, as far as this kernel tells.
stackpy run --rm --learn "$image" sh -c 'echo learned' 2>&1 | grep -q 'SCMP_ACT_ALLOW' || fail "nothing was learned"
