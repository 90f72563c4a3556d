# AppArmor: what runs in a container runs under the profile that it is given, and under none that is not there.
mount -t securityfs securityfs /sys/kernel/security
apparmor_parser --replace --skip-cache <<END
profile secretive flags=(attach_disconnected) {
  capability,
  network,
  signal,
  file,
  deny /hidden r,
}
END
current='exec 2>&1; cat /proc/self/attr/current; cat /hidden || echo denied'
echo word > /root/hidden
own="--volume /root/hidden:/hidden:ro"
same "$(stackpy run --rm $own "$image" sh -c "$current" | words)" "unconfined word " "without a profile"
same "$(stackpy run --rm $own --security-opt apparmor=unconfined "$image" sh -c "$current" | words)" \
  "unconfined word " "apparmor=unconfined"
stackpy run -d --name held $own --security-opt apparmor=secretive "$image" sh -c "$current; sleep 600" > /dev/null
expected="secretive (enforce) cat: /hidden: Permission denied denied "
until_true "its first process speaks" sh -c 'stackpy logs held | grep denied'
same "$(stackpy logs held | words)" "$expected" "a profile"
same "$(stackpy exec held sh -c "$current" | words)" "$expected" "a profile, in exec"
same "$(field held .AppArmorProfile)" secretive "what inspect says"
stackpy rm -f held > /dev/null
said=$(stackpy run --rm --security-opt apparmor=nowhere "$image" true 2>&1 | words)
case $said in *"AppArmor profile \`nowhere\` is not loaded hint: "*) ;; *) fail "a profile that is not loaded: $said" ;; esac
