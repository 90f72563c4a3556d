# A stack of several containers: published ports, health, a second plan, rules that somebody flushes.
cd /payload/quickstart
# Emulated, a start takes seconds: the health checks are given them.
sed -i 's/interval=1)/interval=1, retries=60)/' stack.py
# The base that is there already.
sed -i 's/"python3", "sh"/"python3", "sh", "cat", "sleep", "grep"/' stack.py
stackpy apply --yes
for visit in 1 2 3 4; do
  python3 -c "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/', timeout=20).read().decode(), end='')"
done | tee /tmp/visits
same "$(cut -d, -f1 /tmp/visits | sort -u | wc -l)" 2 "replicas that answered"
same "$(stackpy exec web.1 cat /sys/fs/cgroup/memory.max)" 134217728 "memory.max inside"
same "$(stackpy exec web.1 cat /proc/self/cgroup)" "0::/" "the cgroup namespace"
same "$(stackpy plan | head -1 | sed 's/.* · //')" "nothing to change" "a second plan"

# Rules that somebody flushes come back: before Linux 6.9 nobody can keep others from flushing them.
nft flush ruleset
until_true "the rules come back" sh -c "nft list tables | grep -q 'table ip stackpy'"
python3 -c "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/', timeout=20)" || fail "the port after a flush"
stackpy destroy --yes --volumes --allow-data-loss "volume.*" > /dev/null
cd /
