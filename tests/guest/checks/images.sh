# What is loaded stays a tar from Linux 6.12 on, and is a folder before; containers and steps see no difference.
stackpy save -o /root/web.tar "$image"
stackpy load -i /root/web.tar
indexes=$(find /var/lib/stackpy/layers -name '*.erofs' | wc -l)
case $(uname -r) in
  6.1.*) same "$indexes" 0 "layers that are tars" ;;
  *) [ "$indexes" -gt 0 ] || fail "no layer is a tar" ;;
esac
same "$(stackpy run --rm "$image" sh -c 'echo x > /new; read x < /new; echo $x')" x "a loaded image"
mkdir /root/over
cat > /root/over/stack.py <<END
from stackpy import Container, Image, Stack
Stack("over")
Container("web", image=Image("$image").run("echo made > /made").workdir("/deep/er").copy("stack.py", "./"))
END
(cd /root/over && stackpy build)
same "$(stackpy run --rm over/web:latest sh -c 'read x < /made; echo $x /deep/er/*')" "made /deep/er/stack.py" "steps over it"

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
