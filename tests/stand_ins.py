"""Base images of the names that Dockerfiles use, made of this host's programs: compilers, package managers and the like
are stand-ins that say how they were called and leave behind what the real ones would, in small.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

PROGRAMS = (
    "sh bash cat ls id env echo mkdir rm mv cp touch chmod chown ln wc sed awk nproc sleep true false grep head".split()
)

IMAGES = (
    "alpine alpine:3.20 busybox busybox:1 busybox:1.36 composer:2 debian:bookworm debian:bookworm-slim "
    "docker.io/library/debian:bookworm eclipse-temurin:21-jre ghcr.io/astral-sh/uv:0.4.9 golang:1.22 "
    "golang:1.22-alpine maven:3.9-eclipse-temurin-21 nginx:1.27-alpine node:18 node:20 node:20-alpine php:8.3-apache "
    "python:3.11 python:3.12 python:3.12-slim python:3.12-slim-bookworm rust:1.80"
).split()

TOOLS = (
    "a2enmod addgroup adduser apk apt-get apt-mark autoreconf cargo composer curl docker-php-ext-install dpkg gcc git "
    "go groupadd java ldconfig make mvn npm pip poetry python3 ssh-add update-ca-certificates useradd uv wget yarn"
).split()

_TOOL = r"""#!/bin/sh
name=${0##*/}
made() {
    case $1 in */?*) mkdir -p "${1%/*}/." ;; esac
    printf '#!/bin/sh\n# made by %s\n' "$name" >"$1"
    chmod 755 "$1"
}
for last; do :; done
number=990; output=
previous=
for word; do
    case $previous in -u|-g|--uid) number=$word ;; -o) output=$word ;; esac
    previous=$word
done
echo "$name $*"
case "$name $*" in
    "useradd "*|"adduser "*) echo "$last:x:$number:$number::/:/bin/sh" >>/etc/passwd ;;
    "groupadd "*|"addgroup "*) echo "$last:x:$number:" >>/etc/group ;;
    "npm ci"*) made node_modules/dep/index.js ;;
    "npm run build"*) made dist/index.js ;;
    "yarn build"*) made build/index.html ;;
    "autoreconf "*) made ./configure ;;
    "make install "*) made "${last#DESTDIR=}/usr/local/bin/tool" ;;
    "mvn "*package*) made target/app.jar ;;
    "java -Djarmode=layertools "*)
        for part in dependencies spring-boot-loader snapshot-dependencies application; do
            made "target/extracted/$part/$part.class"
        done ;;
    "cargo chef prepare "*) made "./$last" ;;
    "cargo build "*) made "target/release/$last" ;;
    "composer install "*) made /app/vendor/autoload.php ;;
    "uv sync "*) made .venv/bin/fastapi ;;
    "python3 "|"python3 -") cat ;;
esac
[ -z "$output" ] || made "$output"
"""

_PASSWD = """root:x:0:0::/root:/bin/sh
www-data:x:33:33::/:
node:x:1000:1000::/:
app:x:999:999::/:
nobody:x:65534:65534::/:
"""
_GROUP = "root:x:0:\nwww-data:x:33:\nnode:x:1000:\napp:x:999:\nnogroup:x:65534:\n"

FILES = {
    "/etc/passwd": _PASSWD,
    "/etc/group": _GROUP,
    "/etc/ssl/certs/ca-certificates.crt": "certificates\n",
    "/etc/apache2/sites-available/000-default.conf": "DocumentRoot /var/www/html\n",
    "/bin/busybox": "busybox\n",
    "/uv": "uv\n",
    "/uvx": "uvx\n",
    "/var/cache/ldconfig/aux-cache": "cache\n",
}

CONTEXT = {
    "Makefile.am": "bin_PROGRAMS = tool\n",
    "README.md": "# Read me\n",
    "a.txt": "a\n",
    "a/b/one.txt": "one\n",
    "a/b/two.md": "two\n",
    "c/three.txt": "three\n",
    "cmd/server/main.go": "package main\n",
    "composer.json": "{}\n",
    "composer.lock": "{}\n",
    "configure.ac": "AC_INIT\n",
    "go.mod": "module server\n",
    "go.sum": "sums\n",
    "lib/shared.so": "shared\n",
    "nginx.conf": "server {}\n",
    "node_modules/ignored.js": "ignored\n",
    "package-lock.json": "{}\n",
    "package.json": "{}\n",
    "poetry.lock": "lock\n",
    "pom.xml": "<project/>\n",
    "pyproject.toml": "[project]\n",
    "requirements.txt": "flask\n",
    "run.sh": "#!/bin/sh\n",
    "src/main.c": "int main;\n",
    "up/one": "one\n",
    "uv.lock": "lock\n",
    "x": "x\n",
    "yarn.lock": "lock\n",
    ".dockerignore": "node_modules\n.dockerignore\n**/.git\n",
}


def source() -> Any:
    """What all the stand-ins are built from."""
    files = {**FILES, **{f"/usr/local/bin/{name}": _TOOL for name in TOOLS}}
    steps = [
        {
            "instruction": "file",
            "text": f"FILE {path}",
            "line": "",
            "target": path,
            "content": base64.b64encode(content.encode()).decode(),
            "mode": 0o755 if content.startswith("#!") else 0o644,
        }
        for path, content in files.items()
    ]
    # One layer in the place of forty.
    return {
        "base": {"kind": "scratch"},
        "steps": [
            {
                "instruction": "copy",
                "text": "COPY / /",
                "line": "",
                "sources": ["/"],
                "target": "/",
                "from_stage": "all",
            },
            {"instruction": "env", "text": "ENV", "line": "", "values": {"PATH": "/usr/local/bin:/usr/bin:/bin"}},
        ],
        "stages": {"all": {"base": {"kind": "host", "programs": PROGRAMS}, "steps": steps}},
    }


def fill(context: Path) -> None:
    """Makes a context in which every Dockerfile of tests/dockerfiles finds what it copies."""
    for path, content in CONTEXT.items():
        file = context / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(0o644)
    for folder in (context, *context.rglob("*/")):
        if folder.is_dir():
            folder.chmod(0o755)
