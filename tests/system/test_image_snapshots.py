"""Containers as images and tars: diff, commit, export, import, by the commands that users type."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.engine_lab import IMAGE, Lab
from tests.waiting import wait_for

pytestmark = pytest.mark.root

SCRIPT = """
mkdir -p /d/e; touch /d/e/f; echo new >/etc/new; rm /etc/nsswitch.conf; chmod 700 /tmp
rm -r /var/lib; mkdir /var/lib; touch /var/lib/own; ln /etc/group /etc/linked; echo done; sleep 1000
"""


def _changed(lab: Lab, **fields: Any) -> str:
    name = lab.up(["sh", "-c", SCRIPT], **fields)
    lab.said(name, "done")
    return name


def _ok(lab: Lab, *words: str, given: str = "") -> str:
    done = lab.cli(*words, given=given)
    assert done.code == 0, done
    return done.out


def test_diff_lists_what_was_added_changed_and_deleted(lab: Lab) -> None:
    name = _changed(lab)
    expected = ["A /d", "A /d/e", "A /d/e/f", "C /etc", "A /etc/linked", "A /etc/new", "D /etc/nsswitch.conf",
                "C /tmp", "C /var", "C /var/lib", "A /var/lib/own"]  # fmt: skip
    assert _ok(lab, "diff", name).splitlines() == expected
    rows = json.loads(_ok(lab, "--format", "json", "diff", name))
    assert [f"{row['kind']} {row['path']}" for row in rows] == expected


def test_commit_makes_an_image_of_what_a_container_wrote(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "bound").write_text("of the host")
    mounts = [{"type": "bind", "source": str(tmp_path), "target": "/bound", "read_only": False}]
    times = {"interval": 9.0, "timeout": 1.5, "start_period": 0.0, "start_interval": 5.0}
    probe = {"test": ["true"], "retries": 3, **times}
    name = _changed(lab, environment={"A": "1"}, mounts=mounts, healthcheck=probe)
    changes = ("-c", 'CMD ["ls", "/d/e"]', "-c", "ENV B=${A}2", "-c", "WORKDIR /d")
    image = _ok(lab, "commit", "-m", "by hand", "-a", "me", *changes, name, "committed:1").strip()
    shown = json.loads(_ok(lab, "image", "inspect", "committed:1"))[0]
    assert (shown["Id"], shown["Author"], shown["Comment"]) == (image, "me", "by hand")
    config = {key: shown["Config"][key] for key in ("Cmd", "WorkingDir", "Entrypoint")}
    assert config == {"Cmd": ["ls", "/d/e"], "WorkingDir": "/d", "Entrypoint": None}
    assert {"A=1", "B=12"} <= set(shown["Config"]["Env"])
    check = shown["Config"]["Healthcheck"]
    assert (check["Test"], check["Interval"], check["Timeout"]) == (["CMD", "true"], 9_000_000_000, 1_500_000_000)
    assert _ok(lab, "run", "--rm", "--network", "none", "committed:1") == "f\n"
    script = "cat /etc/new; ls /etc/nsswitch.conf /bound /var/lib; stat -c %a /tmp"
    seen = lab.cli("run", "--rm", "--network", "none", "committed:1", "sh", "-c", script)
    assert seen.out == "new\n/var/lib:\nown\n700\n"
    # Elsewhere it is known by the same ID.
    saved = subprocess.run(lab.command("save", "committed:1"), env=lab.environment, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(saved.stdout)) as archive:
        (entry,) = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
    assert entry["Config"] == f"blobs/sha256/{image.removeprefix('sha256:')}"
    rows = json.loads(_ok(lab, "--format", "json", "image", "history", "committed:1"))
    assert [(row["comment"], row["id"]) for row in rows] == [("by hand", image), ("", "")]
    _ok(lab, "rm", "-f", name)
    _ok(lab, "image", "rm", "committed:1")


def test_a_container_stands_still_while_it_is_committed_and_goes_on(lab: Lab) -> None:
    # Two files that are equal at every moment but between two writes.
    name = lab.up(["sh", "-c", "i=0; while true; do i=$((i+1)); echo $i >/a; echo $i >/b; done"])
    wait_for(lambda: lab.cli("exec", name, "cat", "/b").out, "the first numbers")
    for number in range(3):
        image = _ok(lab, "commit", name, f"still:{number}").strip()
        seen = _ok(lab, "run", "--rm", "--network", "none", image, "sh", "-c", "cat /a /b").split()
        assert int(seen[0]) - int(seen[-1]) in (0, 1)
    before = lab.cli("exec", name, "cat", "/b").out
    wait_for(lambda: lab.cli("exec", name, "cat", "/b").out not in ("", before), "further numbers")
    _ok(lab, "rm", "-f", name)
    for number in range(3):
        _ok(lab, "image", "rm", f"still:{number}")


def test_a_container_goes_on_when_whoever_kept_it_still_is_killed(lab: Lab) -> None:
    name = lab.up(["sh", "-c", "i=0; while true; do i=$((i+1)); echo $i >/a; done"])
    container = lab.engine.container(name)
    for victim in ("client", "supervisor"):
        connection = lab.engine.client.request("still", {"container": container["id"]})
        answer, _ = connection.receive()
        assert answer == {"still": True}
        if victim == "supervisor":
            lab.kill("supervisor")
        connection.close()
        before = lab.cli("exec", name, "cat", "/a").out
        wait_for(lambda before=before: lab.cli("exec", name, "cat", "/a").out not in ("", before), "it goes on")  # type: ignore[misc]


def test_export_and_import_give_the_same_tree(lab: Lab, tmp_path: Path) -> None:
    name = _changed(lab)
    _ok(lab, "export", "-o", str(tmp_path / "tree.tar"), name)
    with tarfile.open(tmp_path / "tree.tar") as archive:
        found = {member.name: oct(member.mode) for member in archive}
    assert found["tmp"] == "0o700"
    assert {"d/e/f", "etc/new", "var/lib/own"} <= set(found)
    assert not {name for name in found if ".wh." in name or name == "etc/nsswitch.conf"}
    subprocess.run(["gzip", "-1", "-k", tmp_path / "tree.tar"], check=True)
    image = _ok(lab, "import", "-c", "CMD cat /etc/new", "-c", "USER 1000", f"{tmp_path}/tree.tar.gz", "flat:1").strip()
    assert _ok(lab, "run", "--rm", "--network", "none", "flat:1") == "new\n"
    row = json.loads(_ok(lab, "--format", "json", "image", "history", image))[0]
    assert row["comment"] == f"Imported from {tmp_path}/tree.tar.gz"
    again = lab.cli("create", "--name", "again", "flat:1", "sh").out.strip()
    _ok(lab, "export", "-o", str(tmp_path / "again.tar"), "again")
    with tarfile.open(tmp_path / "again.tar") as archive:
        assert {member.name: oct(member.mode) for member in archive} == found
    assert len(again) == 64
    _ok(lab, "rm", "again")
    _ok(lab, "image", "rm", "flat:1")


def test_import_takes_every_compression_that_docker_does(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("content")
    (tmp_path / "tree" / "large").write_bytes(os.urandom(1000) * 3000)
    subprocess.run(["tar", "-C", tmp_path / "tree", "-cf", tmp_path / "plain", "."], check=True)
    plain = (tmp_path / "plain").read_bytes()
    packed = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress}
    found = {_ok(lab, "import", str(tmp_path / "plain")).strip()}
    shown = json.loads(_ok(lab, "image", "inspect", *found))[0]["RootFS"]["Layers"]
    for name, pack in packed.items():
        (tmp_path / name).write_bytes(pack(plain))
        image = _ok(lab, "import", str(tmp_path / name)).strip()
        assert json.loads(_ok(lab, "image", "inspect", image))[0]["RootFS"]["Layers"] == shown
        found.add(image)
        whole = pack(plain)
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        failed = lab.cli("import", str(tmp_path / name))
        assert failed.code == 1 and any(word in failed.err for word in ("damaged", "ends early", "ends within")), failed
    _ok(lab, "image", "rm", *found)


@pytest.mark.parametrize(
    ("words", "given", "message"),
    [
        (["import", "-"], "", "the tar is empty"),
        (["import", "-"], "no tar " * 100, "it is not a tar archive"),
        (["import", "/nowhere.tar"], "", "cannot read `/nowhere.tar`: no such file or directory"),
        (["import", "-", "Bad"], "", "`Bad` is not a name"),
        (["import", "-c", "RUN x", "-"], "", "`RUN x` cannot be a change"),
        (["import", "--platform", "windows/amd64", "-"], "", "`windows/amd64` is no platform of an image"),
        (["import", "-c", "BOGUS", "-"], "", "unknown instruction `BOGUS`"),
        (["commit", "nobody"], "", "no container is called `nobody`"),
        (["export", "nobody"], "", "no container is called `nobody`"),
        (["save", "nothing"], "", "no such image: `nothing`"),
        (["save", IMAGE, "-o", "/"], "", "`-o /`: is a folder"),
        (["save", IMAGE, "-o", "/nowhere/x"], "", "cannot write `/nowhere/x`: no such file or directory"),
        (["load", "-i", "/nowhere"], "", "no such archive: `/nowhere`"),
        (["tag", "nothing", "x"], "", "no such image: `nothing`"),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_nothing(
    lab: Lab, words: list[str], given: str, message: str
) -> None:
    before = (lab.engine.images(), sorted(os.listdir(f"{lab.root}/layers")))
    done = lab.cli(*words, given=given)
    assert (done.code in (1, 64), message in done.err, done.out) == (True, True, ""), done
    assert (lab.engine.images(), sorted(os.listdir(f"{lab.root}/layers"))) == before
    assert os.listdir(f"{lab.root}/staging") == []


def test_save_writes_to_standard_output_and_load_reads_from_it(lab: Lab, tmp_path: Path) -> None:
    saved = subprocess.run(lab.command("save", IMAGE), env=lab.environment, capture_output=True, check=True).stdout
    names = tarfile.open(fileobj=io.BytesIO(saved)).getnames()
    assert {"manifest.json", "index.json", "oci-layout"} <= set(names)
    done = subprocess.run(lab.command("load", "-q"), env=lab.environment, input=saved, capture_output=True, check=True)
    assert done.stdout.decode() == f"Loaded image: {IMAGE}\n"
