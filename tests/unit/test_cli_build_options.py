"""Values of the options of `stackpy build`, and what its context may be."""

from __future__ import annotations

import socket
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
        assert build_options.agents(["k=agent"]) == {"k": path}
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        assert build_options.agents(["default"]) == {"default": path}


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
        (build_options.agents, "k=token", "`--ssh k=token`: `{folder}/token` is no socket"),
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
