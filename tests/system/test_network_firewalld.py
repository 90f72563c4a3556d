"""Beside firewalld: our bridges join its zone `trusted` while it runs, and no program is started where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.network_lab import Lab, lab_fixture, run  # noqa: F401

pytestmark = pytest.mark.root


def test_bridges_join_the_trusted_zone_and_leave_it(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    program = tmp_path / "bin" / "firewall-cmd"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin")
    quiet = lab.network("quiet")
    lab.manager.remove(quiet)
    assert not log.exists()
    run("nft", "add", "table", "inet", "firewalld")
    network = lab.network("front")
    lab.manager.remove(network)
    assert log.read_text().splitlines() == [
        f"--quiet --zone=trusted --change-interface={network['bridge']}",
        f"--quiet --zone=trusted --remove-interface={network['bridge']}",
    ]
