# SELinux: what runs in a container has the label that it is given. In a guest of its own: run.sh says why.
checkpolicy -M -U allow -c 33 -o /run/policy /payload/checks/selinux.conf
mount -t selinuxfs selinuxfs /sys/fs/selinux
cat /run/policy > /sys/fs/selinux/load
echo 1 > /sys/fs/selinux/enforce
current='exec 2>&1; read -r label < /proc/self/attr/current; echo "$label"; sh -c "echo forked"'
labelled() { stackpy run --rm --security-opt "label=$1" "$image" sh -c "$current" 2>&1 | words; }
same "$(labelled disable)" "system_u:system_r:kernel_t:s0 forked " "no label"
same "$(labelled type:container_t)" "system_u:system_r:container_t:s0 forked " "a label"
same "$(labelled type:denied_t | cut -d" " -f4-)" "Cannot fork " "a label that may not fork"
case $(labelled type:nowhere_t) in
  *"SELinux label \`system_u:system_r:nowhere_t:s0\` cannot be used: invalid argument hint: "*) ;;
  *) fail "a label that no policy knows" ;;
esac
stackpy run -d --name held --security-opt label=type:container_t "$image" sleep 600 > /dev/null
same "$(stackpy exec held sh -c "$current" | words)" "system_u:system_r:container_t:s0 forked " "a label, in exec"
stackpy rm -f held > /dev/null
