"""Bases of the host's programs: what arrives must run, and nothing else may arrive."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.image import gathering, host_base, host_identity, host_python
from stackpy_runtime.image.gathering import Tree

pytestmark = pytest.mark.root

MODULES = "ssl, sqlite3, json, ctypes, hashlib, zlib, bz2, lzma, socket, http.server, asyncio, decimal, multiprocessing"
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def inside(root: Path, *argv: str, user: str = "0:0") -> str:
    """Runs a program with `root` as its root; its output."""
    command = ["/usr/sbin/chroot", f"--userspec={user}", str(root), *argv]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": SEARCH}, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of python3 and sh."""
    folder = tmp_path_factory.mktemp("base", numbered=True)
    # Others than root must be able to walk to it.
    for parent in [folder, *folder.parents][:3]:
        parent.chmod(0o755)
    host_base.gather(["python3", "sh"], str(folder))
    return folder


def test_python_runs_with_its_library(image: Path) -> None:
    code = f"import sys, {MODULES}; print(ssl.create_default_context().cert_store_stats()['x509'] > 0, sys.prefix)"
    has_bundle = os.path.exists("/etc/ssl/certs/ca-certificates.crt")
    assert inside(image, "python3", "-c", code).split()[0] == str(has_bundle)
    assert inside(image, "python3", "-c", f"import {MODULES}; print('ok')", user="65534:65534") == "ok"


def test_modules_arrive_compiled(image: Path) -> None:
    """Otherwise every start of a container compiles what it imports."""
    code = "import json, sys; print(json.decoder.__cached__); print(sys.flags.dont_write_bytecode)"
    before = sorted(str(path) for path in image.rglob("*.pyc"))
    cached = inside(image, "python3", "-c", code).splitlines()[0]
    host = inside(Path("/"), "/usr/bin/python3", "-c", code).splitlines()[0] if cached.startswith("/usr/lib") else ""
    if host and os.path.exists(host):
        assert str(image) + cached in before


def test_a_shell_runs(image: Path) -> None:
    assert inside(image, "sh", "-c", "echo ok") == "ok"
    assert inside(image, "/bin/sh", "-c", "cd /tmp && echo $(pwd) > x && read line < x && echo $line") == "/tmp"
    (image / "tmp" / "x").unlink()


def test_the_layout(image: Path) -> None:
    modes = {
        path: stat.S_IMODE((image / path).lstat().st_mode)
        for path in ("tmp", "var/tmp", "root", "etc", "run", "home", "proc", "sys", "dev", "usr/bin", ".")
    }
    assert modes == {
        **dict.fromkeys(("etc", "run", "home", "proc", "sys", "dev", "usr/bin", "."), 0o755),
        "tmp": 0o1777,
        "var/tmp": 0o1777,
        "root": 0o700,
    }
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink(f"/{name}"):
            assert os.readlink(image / name) == os.readlink(f"/{name}")
    assert (image / "etc/passwd").read_text().splitlines()[0] == "root:x:0:0:root:/root:/bin/sh"
    assert [(image / "etc" / name).read_text() for name in ("hostname", "hosts", "resolv.conf")] == ["", "", ""]
    assert sorted(os.listdir(image / "dev")) == []


def test_nothing_that_is_not_everybody_s(image: Path) -> None:
    """No set-id bits, nothing of another owner, no device, no hard link to the host, no secret."""
    for path in image.rglob("*"):
        status = path.lstat()
        assert (status.st_uid, status.st_gid) == (0, 0), path
        assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID), path
        assert stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode) or stat.S_ISREG(status.st_mode), path
        assert stat.S_ISDIR(status.st_mode) or status.st_nlink == 1, path
    names = {str(path.relative_to(image)) for path in image.rglob("*")}
    for secret in ("etc/shadow", "etc/gshadow", "etc/ssl/private", "etc/ssh", "root/.ssh", "etc/sudoers"):
        assert secret not in names
    assert not any("site-packages" in name or "dist-packages" in name for name in names)


def test_programs_with_set_id_bits_lose_them(tmp_path: Path) -> None:
    host_base.gather(["mount"], str(tmp_path))
    assert (tmp_path / os.path.realpath(shutil.which("mount") or "").lstrip("/")).stat().st_mode & 0o7777 == 0o755


def test_scripts_bring_their_interpreter(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    scripts = {
        "shell": "#!/bin/sh\necho shell $1\n",
        "by-env": "#!/usr/bin/env sh\necho env $1\n",
        "snake": "#!/usr/bin/env -S python3\nimport json\nprint('snake', json.dumps(1))\n",
    }
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o700)
    image = tmp_path / "image"
    image.mkdir()
    host_base.gather([str(tools / name) for name in scripts], str(image))
    outputs = [inside(image, name, "x") for name in scripts]
    assert outputs == ["shell x", "env x", "snake 1"]


def test_a_virtual_environment_s_python_is_the_real_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    image = tmp_path / "image"
    image.mkdir()
    host_base.gather([str(tmp_path / "venv/bin/python")], str(image))
    assert inside(image, "python", "-c", f"import {MODULES}; print('ok')") == "ok"
    monkeypatch.setenv("PATH", f"{tmp_path}/venv/bin:{SEARCH}")
    if os.path.exists("/usr/bin/python3"):
        tree = host_base.plan(["python3"])
        assert "/usr/bin/python3" in tree.entries
        assert not any(path.startswith(str(tmp_path)) for path in tree.entries)


def test_a_version_manager_s_shim_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    for name in ("python3", "ls", "only-here"):
        (shims / name).write_text("#!/bin/sh\nexec manager exec $0\n")
        (shims / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{shims}:{SEARCH}")
    tree = host_base.plan(["ls"])
    assert not any(path.startswith(str(tmp_path)) for path in tree.entries)
    with pytest.raises(InvalidConfig, match="only-here` is a version manager's shim"):
        host_base.plan(["only-here"])


def test_an_interpreter_in_another_place_works(tmp_path: Path) -> None:
    """The one that runs this test, whose prefix may be a version manager's below a folder of root's alone."""
    base = getattr(sys, "_base_executable", sys.executable)
    host_base.gather([base, "sh"], str(tmp_path))
    for parent in [tmp_path, *tmp_path.parents][:3]:
        parent.chmod(0o755)
    name = os.path.basename(base)
    code = f"import sys, {MODULES}; print(sys.version.split()[0])"
    version = sys.version.split()[0]
    assert [inside(tmp_path, name, "-c", code), inside(tmp_path, name, "-c", code, user="65534:65534")] == [version] * 2
    assert not list(tmp_path.rglob("site-packages"))


def test_busybox_and_static_programs(tmp_path: Path) -> None:
    """A program that is one of many names of a file, and one without a loader."""
    tools, image = tmp_path / "tools", tmp_path / "image"
    tools.mkdir()
    image.mkdir()
    many = tools / "many"
    many.write_text("#!/bin/sh\necho ${0##*/}\n")
    many.chmod(0o755)
    (tools / "one-name").symlink_to("many")
    (tools / "other-name").symlink_to(tools / "one-name")
    static = shutil.which("ldconfig", path="/sbin:/usr/sbin") or "/bin/true"
    host_base.gather([str(tools / "one-name"), str(tools / "other-name"), static], str(image))
    assert [inside(image, name) for name in ("one-name", "other-name")] == ["one-name", "other-name"]
    assert (image / os.path.realpath(static).lstrip("/")).exists()


def test_all_missing_programs_are_told_at_once() -> None:
    with pytest.raises(InvalidConfig) as caught:
        host_base.plan(["sh", "pyhton3", "/usr/bin/nothing-of-this-name", "sub/dir", "/etc/passwd"])
    assert caught.value.message == (
        "there is no program `pyhton3` on this host; `/usr/bin/nothing-of-this-name` does not exist on this host; "
        "`sub/dir` is neither a program's name nor an absolute path; "
        "`/etc/passwd` is not an executable file on this host"
    )
    assert caught.value.hint.startswith("did you mean `python3`?")


def test_the_identity_is_known_without_gathering_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools, root = tmp_path / "tools", tmp_path / "root"
    tools.mkdir()
    root.mkdir()
    script = tools / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    gathered: list[list[str]] = []
    original = host_base.plan

    def counted(names: list[str]) -> Tree:
        gathered.append(names)
        return original(names)

    monkeypatch.setattr(host_base, "plan", counted)
    names = [str(script), "ls"]
    first = host_identity.identity(names, str(root))
    assert host_identity.identity(names, str(root)) == first == host_identity.identity(names, "/nowhere")
    assert len(gathered) == 2
    script.write_text("#!/bin/sh\necho\n")
    second = host_identity.identity(names, str(root))
    assert {name for name in first if first[name] != second[name]} == {str(script)}
    (root / "cache" / "host").iterdir().__next__().write_bytes(b"damaged")
    assert host_identity.identity(names, str(root)) == second


def test_links_out_of_the_tree_are_never_written_through(tmp_path: Path) -> None:
    tree = Tree()
    tree.link("/bin", str(tmp_path / "outside"))
    tree.link("/bin/x", "/y")
    tree.entries["/bin/z"] = gathering.Entry("/bin/z", "text", 0o644, "x", 1, 0, "")
    image = tmp_path / "image"
    image.mkdir()
    (tmp_path / "outside").mkdir()
    with pytest.raises(InvalidConfig, match="`/bin/z` cannot be written"):
        gathering.write(tree, str(image))
    assert os.listdir(tmp_path / "outside") == []


def test_names_of_interpreters() -> None:
    names = ["python", "python3", "python3.11", "python3.13t", "python3-config", "pythonista", "ipython", "python3.11d"]
    assert [name for name in names if host_python.is_python(f"/x/{name}")] == [
        "python",
        "python3",
        "python3.11",
        "python3.13t",
        "python3.11d",
    ]
