# A life: standing still, going on, exec in the container's limits, figures, and why one ended.
stackpy run -d --name counts --init --memory 64m --pids-limit 20 "$image" \
  sh -c 'n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done' > /dev/null
until_true "it counts" sh -c 'stackpy logs counts | grep -qx 3'
same "$(stackpy exec counts cat /proc/self/cgroup)" "0::/" "the control group of a process of exec"
stackpy pause counts > /dev/null
same "$(group counts cgroup.freeze cgroup.events | grep -v populated | words)" "1 frozen 1 " "frozen"
same "$(field counts .State.Status)" paused "a paused container"
stackpy exec counts true 2>&1 | grep -q 'it is paused' || fail "exec in a paused container"
before=$(stackpy logs counts | wc -l)
sleep 1
same "$(stackpy logs counts | wc -l)" "$before" "lines of a container that stands still"
# Whoever is killed meanwhile: it stands, and its figures are read.
kill -9 "$(pgrep -f "^stackpy supervisor")"
stats=$(stackpy stats --no-stream --format '{{.Name}} {{.PIDs}} {{.MemUsage}}' counts)
case $stats in "counts "[23]" "*" / 64MiB") ;; *) fail "stats: $stats" ;; esac
same "$(group counts cgroup.freeze)" 1 "frozen, after a kill of the supervisor"
stackpy unpause counts > /dev/null
same "$(group counts cgroup.freeze)" 0 "frozen, when it is to go on"
until_true "it goes on" sh -c "[ \$(stackpy logs counts | wc -l) -gt $before ]"
stackpy logs counts > /tmp/counted
seq 1 "$(wc -l < /tmp/counted)" | cmp -s - /tmp/counted || fail "a hole in the log"
stackpy rm -f counts > /dev/null

set +e
stackpy run --name greedy --memory 32m "$image" python3 -c 'x = b"x" * 200000000'
same $? 137 "a container over its memory limit"
set -e
same "$(field greedy .State.OOMKilled)" true "out of memory"
same "$(stackpy events --since 10m --until 0s --filter container=greedy --format '{{.Action}}' | words)" \
  "create attach start oom die " "events"
stackpy rm greedy > /dev/null
