"""What each instruction of a Dockerfile becomes."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from stackpy_runtime.dockerfile import compile as compile_text

SH = ["/bin/sh", "-c"]


def steps(text: str, **options: Any) -> list[dict[str, Any]]:
    """The steps below FROM; without their text and line."""
    source = compile_text(
        f"FROM scratch AS other\nFROM base\n{text}",
        name="Dockerfile",
        context="/context",
        config_of=lambda base: {"Env": ["PATH=/bin", "HOME=/root"], "WorkingDir": "/srv"},
        **options,
    ).source
    return [{key: value for key, value in step.items() if key not in ("text", "line")} for step in source["steps"]]


def file(name: str, content: str) -> dict[str, str]:
    return {"name": name, "content": b64encode(content.encode()).decode()}


ONE: dict[str, dict[str, Any]] = {
    "RUN make  all": {"instruction": "run", "argv": [*SH, "make  all"]},
    "run echo $HOME": {"instruction": "run", "argv": [*SH, "echo $HOME"]},
    'RUN ["a", "$b"]': {"instruction": "run", "argv": ["a", "$b"]},
    "RUN --network=none --security=insecure a": {
        "instruction": "run", "argv": [*SH, "a"], "network": "none", "security": "insecure",
    },
    "RUN --network=default --security=sandbox a": {"instruction": "run", "argv": [*SH, "a"]},
    "RUN <<EOF\na\nb $c\nEOF": {"instruction": "run", "argv": [*SH, "a\nb $c\n"]},
    "RUN <<-EOF\n\ta\n\tEOF": {"instruction": "run", "argv": [*SH, "a\n"]},
    "RUN <<EOF\n#!/bin/x\na\nEOF": {
        "instruction": "run", "argv": ["/dev/pipes/EOF"], "inline": [file("EOF", "#!/bin/x\na\n")],
    },
    "RUN cat <<A <<'B' > c\na\nA\nb\nB": {"instruction": "run", "argv": [*SH, "cat <<A <<'B' > c\na\nA\nb\nB"]},
    "COPY a b": {"instruction": "copy", "target": "b", "context": "/context", "sources": ["a"]},
    'COPY ["a b", "c", "d/"]': {"instruction": "copy", "target": "d/", "context": "/context", "sources": ["a b", "c"]},
    "COPY ../../a/../b ./c/../d/ /e/": {
        "instruction": "copy", "target": "/e/", "context": "/context", "sources": ["b", "d/"],
    },
    "COPY $HOME/a '$HOME' x$HOME": {
        "instruction": "copy", "target": "x/root", "context": "/context", "sources": ["/root/a", "$HOME"],
    },
    "COPY --from=other --chown=$HOME:g --chmod=u=rwX,g=u --link --parents a b": {
        "instruction": "copy", "target": "b", "from_stage": "other", "sources": ["a"], "chown": "/root:g",
        "chmod": "u=rwX,g=u", "link": True, "parents": True,
    },
    "COPY --link=false --parents=false --exclude=*.md --exclude=a/** a b": {
        "instruction": "copy", "target": "b", "context": "/context", "sources": ["a"],
        "exclude_paths": ["*.md", "a/**"],
    },
    "COPY --from=0 a b": {"instruction": "copy", "target": "b", "from_stage": "other", "sources": ["a"]},
    "COPY --from=OTHER a b": {"instruction": "copy", "target": "b", "from_stage": "other", "sources": ["a"]},
    "COPY --from=nginx:1.2 a b": {"instruction": "copy", "target": "b", "from_image": "nginx:1.2", "sources": ["a"]},
    "COPY --from=ctx a b": {"instruction": "copy", "target": "b", "from_context": "/ctx", "sources": ["a"]},
    "COPY --from=img a b": {"instruction": "copy", "target": "b", "from_image": "ref:1", "sources": ["a"]},
    "COPY <<a.txt <<-'b' c /x/\n$HOME \"q\" \\$HOME\na.txt\n\t$HOME\n\tb": {
        "instruction": "copy", "target": "/x/", "context": "/context", "sources": ["c"],
        "inline": [file("a.txt", '/root "q" $HOME\n'), file("b", "$HOME\n")],
    },
    "COPY <<a b\na": {"instruction": "copy", "target": "b", "sources": [], "inline": [file("a", "")]},
    "ADD a.tar b": {"instruction": "add", "target": "b", "context": "/context", "sources": ["a.tar"]},
    "ADD --unpack=false a.tar b": {
        "instruction": "add", "target": "b", "context": "/context", "sources": ["a.tar"], "unpack": False,
    },
    "ADD https://h$HOME/a https://h/r.git?tag=1 b c/": {
        "instruction": "add", "target": "c/", "context": "/context", "sources": ["b"], "urls": ["https://h/root/a"],
        "git": ["https://h/r.git#refs/tags/1"],
    },
    "ADD https://h/r.git?ref=v1&subdir=docs&keep-git-dir&submodules=0&mtime=commit&fetch-by-commit=1 b": {
        "instruction": "add", "target": "b", "sources": [], "git": ["https://h/r.git#v1:docs"], "keep_git_dir": True,
        "submodules": False, "commit_times": True,
    },
    "ADD https://h/r.git?branch=refs/heads/x&submodules=true&mtime=checkout b": {
        "instruction": "add", "target": "b", "sources": [], "git": ["https://h/r.git#refs/heads/x"],
    },
    "ADD --checksum=sha256:" + "a" * 64 + " --unpack https://h/a b": {
        "instruction": "add", "target": "b", "sources": [], "urls": ["https://h/a"], "checksum": "sha256:" + "a" * 64,
        "unpack": True,
    },
    "ADD --keep-git-dir --checksum=" + "b" * 40 + " git@h:r.git b": {
        "instruction": "add", "target": "b", "sources": [], "git": ["git@h:r.git"], "checksum": "b" * 40,
        "keep_git_dir": True,
    },
    "ENV a=b c=$HOME/d e='$HOME' f=": {
        "instruction": "env", "values": {"a": "b", "c": "/root/d", "e": "$HOME", "f": ""},
    },
    "ENV a  b  $HOME c": {"instruction": "env", "values": {"a": "b  /root c"}},
    "ENV HOME=/x OLD=$HOME": {"instruction": "env", "values": {"HOME": "/x", "OLD": "/root"}},
    'LABEL "a b"=c d=${HOME#/} multi="x\\\n y"': {
        "instruction": "label", "values": {"a b": "c", "d": "root", "multi": "x y"},
    },
    "WORKDIR $HOME/../a b": {"instruction": "workdir", "target": "/root/../a b"},
    "USER ${NOBODY:-nobody}:users": {"instruction": "user", "value": "nobody:users"},
    "EXPOSE 80 53/UDP 80/tcp 8000-8001": {
        "instruction": "expose", "ports": ["80/tcp", "53/udp", "8000/tcp", "8001/tcp"],
    },
    'VOLUME ["/a b", "$HOME"]': {"instruction": "volume", "targets": ["/a b", "/root"]},
    "VOLUME /a $HOME": {"instruction": "volume", "targets": ["/a", "/root"]},
    "STOPSIGNAL SIG${X:-QUIT}": {"instruction": "stopsignal", "value": "SIGQUIT"},
    "ENTRYPOINT []": {"instruction": "entrypoint", "argv": []},
    'ENTRYPOINT ["a", "$HOME"]': {"instruction": "entrypoint", "argv": ["a", "$HOME"]},
    "ENTRYPOINT exec a $HOME": {"instruction": "entrypoint", "argv": [*SH, "exec a $HOME"]},
    "CMD a": {"instruction": "cmd", "argv": [*SH, "a"]},
    "CMD [not json]": {"instruction": "cmd", "argv": [*SH, "[not json]"]},
    'SHELL ["/bin/bash", "-c"]': {"instruction": "shell", "argv": ["/bin/bash", "-c"]},
    "HEALTHCHECK NONE": {"instruction": "healthcheck", "healthcheck": {"Test": ["NONE"]}},
    "HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=0s --start-interval=2s --retries=3 CMD a  b": {
        "instruction": "healthcheck",
        "healthcheck": {
            "Test": ["CMD-SHELL", "a  b"], "Interval": 90 * 10**9, "Timeout": 5 * 10**8, "StartInterval": 2 * 10**9,
            "Retries": 3,
        },
    },
    'HEALTHCHECK cmd ["a", "b"]': {"instruction": "healthcheck", "healthcheck": {"Test": ["CMD", "a", "b"]}},
    "ONBUILD COPY --from=x $a /b": {"instruction": "onbuild", "value": "COPY --from=x $a /b"},
    "ONBUILD  RUN <<A b\nc\nA": {"instruction": "onbuild", "value": "RUN <<A b\nc\nA"},
    "MAINTAINER Somebody <a@b>": {"instruction": "maintainer", "value": "Somebody <a@b>"},
}  # fmt: skip


@pytest.mark.parametrize("text", ONE)
def test_one_instruction(text: str) -> None:
    assert steps(text, contexts={"ctx": "/ctx", "img": "docker-image://ref:1"}) == [ONE[text]]


@pytest.mark.parametrize(
    ("mount", "made"),
    [
        ("target=a", {"type": "bind", "target": "/srv/a"}),
        ("type=bind,dst=/a,src=$HOME,rw", {"type": "bind", "target": "/a", "source": "/root", "readonly": False}),
        ("from=other,target=/a", {"type": "bind", "target": "/a", "from_stage": "other"}),
        ("from=ctx,target=/a,ro=true", {"type": "bind", "target": "/a", "from_context": "/ctx", "readonly": True}),
        ("from=debian,source=etc,target=/a",
         {"type": "bind", "target": "/a", "source": "etc", "from_image": "debian"}),
        ("type=cache,target=/a/", {"type": "cache", "target": "/a", "id": "/a"}),
        ("type=cache,target=a,id=x$HOME,sharing=LOCKED,mode=0755,uid=1,gid=2,readonly",
         {"type": "cache", "target": "/srv/a", "id": "x/root", "sharing": "locked", "mode": 0o755, "uid": 1, "gid": 2,
          "readonly": True}),
        ("type=cache,target=/a,from=other,source=/b",
         {"type": "cache", "target": "/a", "id": "/a", "source": "/b", "from_stage": "other"}),
        ("type=tmpfs,target=/a,size=64m", {"type": "tmpfs", "target": "/a", "size": 64 << 20}),
        ("type=secret,id=a", {"type": "secret", "id": "a", "target": "/run/secrets/a"}),
        ("type=secret,src=a,target=b,required,mode=400,uid=0",
         {"type": "secret", "id": "a", "target": "/srv/b", "required": True, "mode": 0o400, "uid": 0}),
        ("type=secret,target=/x/name", {"type": "secret", "id": "name", "target": "/x/name"}),
        ("type=secret,id=a,env=B", {"type": "secret", "id": "a", "env": "B"}),
        ("type=secret,id=a,env=B,target=/c", {"type": "secret", "id": "a", "env": "B", "target": "/c"}),
        ("type=ssh", {"type": "ssh", "id": "default"}),
        ("type=ssh,id=a,required=true,target=/s,mode=0600",
         {"type": "ssh", "id": "a", "required": True, "target": "/s", "mode": 0o600}),
        ('type=bind,"target=/a,b"', {"type": "bind", "target": "/a,b"}),
    ],
)  # fmt: skip
def test_mounts(mount: str, made: dict[str, Any]) -> None:
    quoted = mount.replace('"', '\\"')
    (step,) = steps(f"RUN --mount={quoted} x", contexts={"ctx": "/ctx"})
    local = made["type"] == "bind" and not {"from_stage", "from_image", "from_context"} & made.keys()
    assert (step["mounts"], "context" in step) == ([made], local)


def test_arguments_and_environment() -> None:
    found = steps(
        "ARG A=1\nARG B\nARG HOME=/arg\nARG GIVEN=default\nENV A=env\nRUN one\nARG A=again\nRUN two\n"
        "ENV C=$A$B$GIVEN\nRUN x",
        build_args={"GIVEN": "value", "http_proxy": "http://p", "OTHER": "x"},
    )
    assert found == [
        {"instruction": "env", "values": {"A": "env"}},
        {
            "instruction": "run",
            "argv": [*SH, "one"],
            "args": {"HOME": "/arg", "GIVEN": "value"},
            "proxies": {"http_proxy": "http://p"},
        },
        {
            "instruction": "run",
            "argv": [*SH, "two"],
            "args": {"HOME": "/arg", "GIVEN": "value", "A": "again"},
            "proxies": {"http_proxy": "http://p"},
        },
        {"instruction": "env", "values": {"C": "againvalue"}},
        {
            "instruction": "run",
            "argv": [*SH, "x"],
            "args": {"HOME": "/arg", "GIVEN": "value", "A": "again"},
            "proxies": {"http_proxy": "http://p"},
        },
    ]


def test_shell_is_that_of_the_lines_above() -> None:
    found = steps('RUN a\nSHELL ["/bin/bash", "-ec"]\nRUN b\nRUN ["c"]\nCMD d\nRUN <<EOF\ne\nEOF')
    assert [step["argv"] for step in found] == [
        [*SH, "a"],
        ["/bin/bash", "-ec"],
        ["/bin/bash", "-ec", "b"],
        ["c"],
        ["/bin/bash", "-ec", "d"],
        ["/bin/bash", "-ec", "e\n"],
    ]


def test_text_and_line() -> None:
    text = "FROM a\n\nrun one \\\n # no\n   two\nCOPY <<EOF /b\nx\nEOF\n"
    text += "RUN <<EOF\nset  -e\nx\nEOF\nRUN cat <<EOF\nx\nEOF\n"
    source = compile_text(text, name="web/Dockerfile", context="/", config_of=lambda _: {}).source
    assert [(step["text"], step["line"]) for step in source["steps"]] == [
        ("run one two", "web/Dockerfile:3"),
        ("COPY <<EOF /b", "web/Dockerfile:6"),
        ("RUN <<EOF (set -e …)", "web/Dockerfile:9"),
        ("RUN cat <<EOF (x)", "web/Dockerfile:13"),
    ]


def test_ignore_file_stands_beside_the_context() -> None:
    (step,) = steps("COPY a b", ignore_file="/context/x.dockerignore")
    assert (step["context"], step["ignore_file"]) == ("/context", "/context/x.dockerignore")
