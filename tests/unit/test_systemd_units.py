"""The unit that `system install` writes: for systemd as it reads units, below any folder, and gone without a trace."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from stackpy.cli import systemd_units as units
from stackpy.errors import StackpyError

CALLED = ["/opt/a b/stackpy"]


def setting(text: str, name: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name}=")]
    return line.partition("=")[2]


def test_each_root_has_a_unit_of_its_own() -> None:
    assert units.name("/var/lib/stackpy") == "stackpy.service"
    assert units.name("/srv/a") != units.name("/srv/b")


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("/a/b", "/a/b"),
        ("/a b", '"/a b"'),
        ("/a%b$c", "/a%%b$$c"),
        ('/a"b', '"/a\\"b"'),
        ("/a\\b", "/a\\\\b"),
        ("", '""'),
    ],
)
def test_words_stay_words(word: str, quoted: str) -> None:
    assert units.quoted(word) == quoted


def test_a_line_break_is_refused() -> None:
    with pytest.raises(StackpyError, match="cannot stand in a unit"):
        units.quoted("/a\nExecStartPre=/bin/sh")


def test_it_starts_and_stops_the_engine_of_its_root() -> None:
    text = units.text("/srv/my root", CALLED)
    assert shlex.split(setting(text, "ExecStart")) == [*CALLED, "--root", "/srv/my root", "system", "start"]
    assert shlex.split(setting(text, "ExecStop")) == [*CALLED, "--root", "/srv/my root", "system", "stop"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="a host without systemd")
@pytest.mark.parametrize("root", ["/var/lib/stackpy", "/srv/my root/50%"])
def test_systemd_takes_it(tmp_path: Path, root: str) -> None:
    file = tmp_path / units.name(root)
    file.write_text(units.text(root, ["/bin/true"]))
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning"}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", file], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if file.name in line]) == (0, [])


def test_it_is_written_once_and_removed_without_the_users_own(tmp_path: Path) -> None:
    root, folder = "/var/lib/stackpy", str(tmp_path)
    file, link = units.places(root, folder)
    text = units.text(root, CALLED)
    assert units.install(root, folder, text)
    assert not units.install(root, folder, text)
    assert Path(file).read_text() == text
    # As `systemctl enable` makes it: what it names is on the host that will be booted.
    assert os.readlink(link) == "/etc/systemd/system/stackpy.service"
    own = Path(f"{file}.d/proxy.conf")
    own.parent.mkdir()
    own.write_text("[Service]\n")
    assert units.install(root, folder, text + "# newer\n")
    assert units.remove(root, folder)
    assert not units.remove(root, folder)
    assert units.drop_ins(root, folder) == [str(own)]
    assert not os.path.lexists(file)
    assert not os.path.lexists(link)


def test_check_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(units, "UNITS", str(tmp_path).removeprefix("/"))
    root = "/var/lib/stackpy"
    assert units.finding(root)["ok"] is False
    units.install(root, "", units.text(root, CALLED))
    assert "another version or place" in units.finding(root)["detail"]
    units.install(root, "", units.text(root, units.program()))
    assert units.finding(root)["ok"] is True
    os.unlink(units.places(root, "")[1])
    assert units.finding(root)["remedy"] == "systemctl enable stackpy.service"
