# The machine's clock is set two days back and then three days ahead while a stack runs: nothing ends, waits or is made anew
# for it, and what is told of the past is in the order in which it was.
mkdir /root/timed
cd /root/timed
cat > stack.py <<END
from stackpy import Container, HealthCheck, Image, Stack, var
Stack("timed")
image = Image("$image")
Container("well", image=image, command=["sleep", "86400"], network_mode="none", environment={"N": var("n", default="0")},
          healthcheck=HealthCheck(["cat", "/etc/hosts"], interval=1, timeout=60, retries=3))
Container("dies", image=image, command=["sh", "-c", "echo run; sleep 1; exit 3"], network_mode="none", restart="always")
END
runs() { stackpy logs timed-dies-1 | grep -c run || true; }
goes_on() { # after the clock was set: WHAT HOW, as date(1) reads it
  before=$(runs)
  date -s "$2" > /dev/null
  told "$1"
  until_true "it is started again, $1" sh -c "[ \$(stackpy logs timed-dies-1 | grep -c run) -gt $((before + 1)) ]"
  same "$(field timed-well-1 .State.Health.Status)" healthy "its health, $1"
  same "$(stackpy plan --set n=$turn | grep -c well)" 0 "the plan, $1"
  turn=$((turn + 1))
  stackpy apply --yes --set n=$turn > /dev/null 2>&1 || fail "an apply, $1"
  until_true "it is healthy again, $1" sh -c 'stackpy inspect -f "{{.State.Health.Status}}" timed-well-1 | grep -qx healthy'
  same "$(stackpy history --format json | grep -c '"applied"')" $((turn + 1)) "the generations, $1"
}
told() { # the events of the last hours, whatever the clock was when they happened: HOW
  stackpy events --since 5h --until 0s --filter container=timed-well-1 | grep -q ' container start ' \
    || fail "the start of a container minutes ago, $1: $(stackpy events --since 1000h --until 0s)"
  stackpy why container.well | grep -q 'well-[0-9]* start, .*\(now\|second\|minute\)' || fail "what why tells, $1: $(stackpy why container.well)"
}
turn=0
stackpy apply --yes > /dev/null 2>&1
until_true "it is healthy" sh -c 'stackpy inspect -f "{{.State.Health.Status}}" timed-well-1 | grep -qx healthy'
goes_on "two days back" "2 days ago"
stackpy ps -a --format '{{.Status}}' | grep -q -- - && fail "a time below zero: $(stackpy ps -a)"
goes_on "three days ahead" "3 days"
same "$(stackpy history --format json | python3 -c 'import json, sys
rows = [row["generation"] for row in json.load(sys.stdin)]
print(rows == sorted(rows, reverse=True))')" True "the order of history"
stackpy ps -a | grep -q 'Up 1 day' || fail "what is told of a container that has run since before: $(stackpy ps -a)"
kill -9 "$(pgrep -f "^stackpy supervisor")"
date -s "2 days ago" > /dev/null
before=$(runs)
until_true "it is started again by the next supervisor" sh -c "[ \$(stackpy logs timed-dies-1 | grep -c run) -gt $((before + 1)) ]"
stackpy destroy --yes > /dev/null
cd /
