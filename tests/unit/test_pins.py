"""stackpy.lock: the same pins give the same bytes, and what is damaged is said with its file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from stackpy import pins
from stackpy.cli import locking
from stackpy.errors import StackFileError

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
PINS = {"z:1": {"linux/arm64": TWO, "linux/amd64": ONE}, "a.example:5000/b:2": {"linux/amd64": TWO}}
TEXT = f"""\
# Digests of the images that this stack stands on; `stackpy lock --update [NAME]` moves them.

[images."a.example:5000/b:2"]
"linux/amd64" = "{TWO}"

[images."z:1"]
"linux/amd64" = "{ONE}"
"linux/arm64" = "{TWO}"
"""


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert pins.read(str(tmp_path)) == {}
    pins.write(str(tmp_path), PINS)
    assert [path.name for path in tmp_path.iterdir()] == ["stackpy.lock"]
    assert (tmp_path / "stackpy.lock").read_text() == TEXT == pins.text(pins.read(str(tmp_path)))
    pins.write(str(tmp_path), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[images", "stackpy.lock cannot be read"),
        ("version = 2\n", "it holds tables"),
        ("images = 1\n", "it holds tables"),
        ('[images]\n"a:1" = "sha256:1"\n', "`a:1` must be a table of platforms"),
        ('[images."a:1"]\n"linux/amd64" = "sha256:1"\n', "`a:1`, linux/amd64: `sha256:1` is not a digest"),
        ('[images."a:1"]\n"linux/amd64" = 1\n', "`1` is not a digest"),
    ],
)
def test_damage_is_said(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "stackpy.lock").write_text(text)
    with pytest.raises(StackFileError) as caught:
        pins.read(str(tmp_path))
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.replace("\n\n", "\n"),
        TEXT.replace(" = ", "="),
        TEXT + '  "linux/riscv64" = "' + ONE + '" # by hand\n',
        TEXT.replace('images."z:1"', "images.'z:1'"),
        TEXT.replace('"linux/arm64"', '"linux\\u002farm64"'),
        TEXT.replace("\n", "\r\n"),
    ],
)
def test_whatever_its_form_it_is_read_as_toml(tmp_path: Path, text: str) -> None:
    (tmp_path / "stackpy.lock").write_bytes(text.encode())
    assert pins.read(str(tmp_path)) == tomllib.loads(text)["images"]


def test_what_is_no_toml_is_not_read_either(tmp_path: Path) -> None:
    for text in (TEXT + f'"linux/arm64" = "{ONE}"\n', TEXT + '[images."z:1"]\n', f'"linux/arm64" = "{ONE}"\n'):
        (tmp_path / "stackpy.lock").write_text(text)
        with pytest.raises(StackFileError):
            pins.read(str(tmp_path))


def test_an_apply_adds_and_moves_nothing() -> None:
    found = {"z:1": {"linux/amd64": TWO, "linux/arm64": TWO}, "new:1": {"linux/amd64": ONE}}
    assert pins.merged({"z:1": {"linux/amd64": ONE}, "old:1": {"linux/amd64": ONE}}, found) == {
        "z:1": {"linux/amd64": ONE, "linux/arm64": TWO},
        "old:1": {"linux/amd64": ONE},
        "new:1": {"linux/amd64": ONE},
    }


def test_an_update_moves_what_has_moved_and_drops_what_is_not_used() -> None:
    old = {"z:1": {"linux/amd64": ONE, "linux/arm64": ONE}, "gone:1": {"linux/amd64": ONE}}
    found = {"z:1": {"linux/amd64": ONE}, "new:1": {"linux/amd64": ONE}}
    assert locking.updated(old, found, [("z:1", "linux/amd64", ONE, TWO)]) == {
        "z:1": {"linux/amd64": TWO, "linux/arm64": ONE},  # of another machine
        "new:1": {"linux/amd64": ONE},
    }
    assert locking.moved_text("z:1", "linux/amd64", ONE, TWO) == (
        "z:1 (linux/amd64): sha256:111111111111 → sha256:222222222222"
    )
