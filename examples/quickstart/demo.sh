#!/usr/bin/env bash
# Applies the quickstart in an engine root of its own, changes it, and removes it. DEMO_KEEP=1 leaves it up.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${STACKPY_BIN:-$here/../../.venv/bin}
root=${STACKPY_ROOT:-/var/tmp/stackpy-demo}
work=$(mktemp -d)
export STACKPY_ROOT=$root

say() { printf '\n\033[1m%s\033[0m\n' "$*" | if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then cat; else sed 's/\x1b\[[0-9;]*m//g'; fi; }
run() { say "\$ stackpy $*"; "$bin/stackpy" "$@"; }
ask() { "$bin/python" -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode(), end="")' "$1"; }
free_port() { "$bin/python" -c 'import socket
for port in (8080, 0):
    try:
        s = socket.create_server(("127.0.0.1", port)); print(s.getsockname()[1]); break
    except OSError: pass'; }
clean() {
    status=$?
    if [ -n "${DEMO_KEEP:-}" ] && [ "$status" = 0 ]; then
        say "It is still up. To remove it:"
        echo "STACKPY_ROOT=$root $bin/stackpy destroy --stack quickstart --volumes --images --allow-data-loss volume.counts --yes && rm -rf $root $work"
        return
    fi
    [ "$status" = 0 ] || "$bin/stackpy" destroy --stack quickstart --volumes --images --allow-data-loss "volume.*" --yes >&2 || true
    rm -rf "$work"
    [ -n "${keep_root:-}" ] || rm -rf "$root"
    return "$status"
}
[ -e "$root" ] && keep_root=1
trap clean EXIT

cp "$here"/*.py "$here"/*.j2 "$work"/
cd "$work"
export STACKPY_VAR_port
STACKPY_VAR_port=$(free_port)

run apply --yes
url=$("$bin/stackpy" output url)
say "\$ curl $url    (four times)"
for _ in 1 2 3 4; do ask "$url"; done
run ps

say "One thing changes: the greeting."
sed -i 's/default="Hello"/default="Welcome back"/' stack.py
run plan
run apply --yes
say "\$ curl $url"
ask "$url"

if [ -z "${DEMO_KEEP:-}" ]; then
    run destroy --volumes --images --allow-data-loss volume.counts --yes
fi
