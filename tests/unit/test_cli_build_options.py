"""Values of the options of `stackpy build`, and what its context may be."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stackpy.cli import build_context, build_options
from stackpy.errors import StackpyError, UsageError


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SET", "from here")
    monkeypatch.delenv("UNSET", raising=False)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "token").write_bytes(b"in a file\n")
    (tmp_path / "folder").mkdir()


def test_build_arguments() -> None:
    assert build_options.arguments(["A=1", "B=", "C=x=y", "SET", "UNSET"]) == {
        "A": "1", "B": "", "C": "x=y", "SET": "from here",
    }  # fmt: skip


def test_labels() -> None:
    assert build_options.labels(["a=b=c", "d"]) == {"a": "b=c", "d": ""}


def test_contexts(tmp_path: Path) -> None:
    assert build_options.contexts(["a=folder", "b=docker-image://debian"]) == {
        "a": str(tmp_path / "folder"),
        "b": "docker-image://debian",
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("id=a,src=token", b"in a file\n"),
        ("id=a,source=token,type=file", b"in a file\n"),
        ("id=a,env=SET", b"from here"),
        ("id=a,type=env,src=SET", b"from here"),
        ("id=token", b"in a file\n"),
        ("id=SET", b"from here"),
    ],
)
def test_secrets(text: str, value: bytes) -> None:
    (found,) = build_options.secrets([text]).values()
    assert found == value


def test_agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("agent")
        path = str(tmp_path / "agent")
        assert build_options.agents(["k=agent"]) == {"ssh": {"k": path}}
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        assert build_options.agents(["default"]) == {"ssh": {"default": path}}
        with pytest.raises(UsageError, match="one agent, or several keys"):
            build_options.agents(["k=agent,token"])


def test_keys(tmp_path: Path) -> None:
    for name, kind, phrase in (("a", "ed25519", ""), ("b", "ecdsa", ""), ("locked", "ed25519", "a phrase")):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", phrase, "-f", tmp_path / name], check=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "rsa", "-b", "1024", "-m", "PEM", "-N", "a phrase", "-f", tmp_path / "pem"],
        check=True,
    )
    assert build_options.agents(["default=a,b", "other=a"]) == {
        "ssh": {},
        "ssh_keys": {"default": [f"{tmp_path}/a", f"{tmp_path}/b"], "other": [f"{tmp_path}/a"]},
    }
    for text, message in (
        ("k=locked", "has a passphrase"),
        ("k=pem", "has a passphrase"),
        ("k=a.pub", "is a public key"),
        ("k=a,none", "cannot read"),
    ):
        with pytest.raises(StackpyError, match=message):
            build_options.agents([text])
    with pytest.raises(UsageError, match="given twice"):
        build_options.agents(["k=a", "k=b"])


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (build_options.arguments, "=1", "`--build-arg =1`: expected KEY=VALUE or KEY"),
        (build_options.labels, "=1", "`--label =1`: expected KEY=VALUE"),
        (build_options.contexts, "a", "`--build-context a`: expected NAME=FOLDER"),
        (build_options.contexts, "a=nowhere", "the context `a` is no folder: `nowhere`"),
        (build_options.secrets, "id=a,env=UNSET", "secret `a`: the variable `UNSET` is not set"),
        (
            build_options.secrets,
            "id=a,src=x,env=SET",
            "`--secret id=a,src=x,env=SET`: it has both a file and a variable",
        ),
        (build_options.secrets, "id=a,type=other", "`--secret id=a,type=other`: type is `file` or `env`"),
        (build_options.secrets, "token", "`--secret token`: `token` is not understood"),
        (build_options.secrets, "id=nowhere", "secret `nowhere`: cannot read `nowhere`: no such file or directory"),
        (build_options.agents, "default", "`--ssh default`: no agent runs here"),
        (build_options.agents, "k=token", "`--ssh k=token`: `{folder}/token` is neither a socket nor a private key"),
        (build_options.allowed, "all", "`--allow all`: expected security.insecure or network.host"),
    ],
)
def test_refusals(parse: Any, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(StackpyError) as caught:
        parse([text])
    assert caught.value.message == message.format(folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ("-", True),
        ("https://example.com/context.tar.gz", True),
        ("https://github.com/me/tool.git#main:cli", True),
        ("git@github.com:me/tool.git", True),
        ("github.com/me/tool", True),
        ("ssh://git@host/tool", True),
        ("folder", False),
        ("./git@host:x", False),
        ("web", False),
        (".", False),
    ],
)
def test_what_comes_from_elsewhere(text: str, remote: bool) -> None:
    assert build_context.is_remote(text) is remote


def test_the_dockerfile_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder" / "own").write_text("")
    folder = str(tmp_path / "folder")
    for file, path in (
        ("", f"{folder}/Dockerfile"),
        ("token", str(tmp_path / "token")),
        ("own", f"{folder}/own"),
        ("nowhere", str(tmp_path / "nowhere")),
    ):
        with build_context.opened("folder", file, "") as found:
            assert found == (folder, path, None)
    with pytest.raises(StackpyError, match="the context `token` is no folder"), build_context.opened("token", "", ""):
        pass
    with pytest.raises(UsageError, match="cannot be both"), build_context.opened("-", "-", ""):
        pass


@pytest.mark.parametrize(
    ("text", "revision"),
    [
        ("https://h/r.git", ("https://h/r.git", "", "")),
        ("https://h/r.git#v1:cli", ("https://h/r.git", "v1", "cli")),
        ("https://h/r.git?ref=v1&subdir=cli", ("https://h/r.git", "v1", "cli")),
        ("https://h/r.git?tag=v1&submodules=true", ("https://h/r.git", "refs/tags/v1", "")),
        ("https://h/r.git?branch=refs/heads/a%2Fb&keep-git-dir=false", ("https://h/r.git", "refs/heads/a/b", "")),
        ("https://h/r.git?commit=abc#abc", ("https://h/r.git", "abc", "")),
    ],
)
def test_a_repository_by_its_address(text: str, revision: tuple[str, str, str]) -> None:
    assert build_context._revision(text) == revision


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://h/r.git?submodules=false", "cannot say `submodules=false`"),
        ("https://h/r.git?nonsense=1", "cannot say `nonsense=1`"),
        ("https://h/r.git?ref=a#b", "contradicts itself"),
    ],
)
def test_addresses_that_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build_context._revision(text)
