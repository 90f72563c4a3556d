"""What users read when something is wrong: whole outputs, exit codes, and that nothing was touched. Needs no root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import Cli, checked_out

STACK = """\
from stackpy import Container, Image, Network, Secret, template

Container("web", image=Image.host("sh"), prts=["80:80"], mem_limit="lots", networks=["backnd"])
Network("backend")
Container("web", image="x")
Container("api", image=Image.host("sh").copy("sorce/", "/"), files={"/a": template("a.j2")})
"""
PROBLEMS = """\
error: unknown field `prts` of container `web`
 --> stack.py:3:42
  |
3 | Container("web", image=Image.host("sh"), prts=["80:80"], mem_limit="lots", networks=["backnd"])
  |                                          ^^^^
hint: did you mean `ports`?

error: `mem_limit` of container `web` must be a size such as "256m" or "1.5gb", or a number of bytes, not "lots"
 --> stack.py:3:68
  |
3 | Container("web", image=Image.host("sh"), prts=["80:80"], mem_limit="lots", networks=["backnd"])
  |                                                                    ^^^^^^

error: `networks[0]` of container `web`: no network `backnd` in this stack
 --> stack.py:3:86
  |
3 | Container("web", image=Image.host("sh"), prts=["80:80"], mem_limit="lots", networks=["backnd"])
  |                                                                                      ^^^^^^^^
hint: did you mean `backend`?

error: container `web` is declared twice
 --> stack.py:5:11
  |
5 | Container("web", image="x")
  |           ^^^^^
hint: the first is at line 3 of stack.py

error: `copy`: no such file or folder: `sorce/`
 --> stack.py:6:46
  |
6 | Container("api", image=Image.host("sh").copy("sorce/", "/"), files={"/a": template("a.j2")})
  |                                              ^^^^^^^^
hint: did you mean `source`?

error: no such file or folder: `a.j2`
 --> stack.py:6:84
  |
6 | Container("api", image=Image.host("sh").copy("sorce/", "/"), files={"/a": template("a.j2")})
  |                                                                                    ^^^^^^
hint: looked for {here}/a.j2

6 problems; nothing was touched
"""


CYCLE = """\
from stackpy import Container
Container("a", image="x", depends_on=["b"])
Container("b", image="x", depends_on=["a"])
"""


@pytest.fixture
def typed(tmp_path: Path) -> Cli:
    """The command on a root that does not exist."""
    return checked_out(tmp_path / "root")


@pytest.mark.parametrize("verb", ["validate", "plan", "build"])
def test_all_problems_of_a_stack_file_at_once(typed: Cli, tmp_path: Path, verb: str) -> None:
    (tmp_path / "stack.py").write_text(STACK)
    (tmp_path / "source").mkdir()
    result = typed(verb, cwd=tmp_path, code=1)
    assert (result.stdout, result.stderr) == ("", PROBLEMS.replace("{here}", str(tmp_path)))
    assert not typed.root.exists()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "error: the stack file raised ZeroDivisionError: division by zero\n --> stack.py:1"),
        ("import sys; sys.exit(3)", "error: the stack file"),
        ("import nothing_there", "error: the stack file raised ModuleNotFoundError: No module named 'nothing_there'"),
        ("x = (", "error: "),
        (CYCLE, "error: "),
        ("from stackpy import var\nvar('size')", "error: variable `size` has no value"),
    ],
)
def test_stack_files_that_do_not_load(typed: Cli, tmp_path: Path, code: str, message: str) -> None:
    (tmp_path / "stack.py").write_text(code)
    result = typed("validate", cwd=tmp_path, code=1)
    assert result.stderr.startswith(message)
    assert "stack.py:" in result.stderr
    assert "Traceback" not in result.stderr


SEE = "shows what it takes"
BUILD_HERE = "`stackpy build .` builds this folder's Dockerfile"
NO_STACK_FILE = "`stackpy init` writes one, `-f FILE` names another"


@pytest.mark.parametrize(
    ("line", "code", "error", "hint"),
    [
        ("plan", 1, "no stack file {here}/stack.py", NO_STACK_FILE),
        ("-f other.py plan", 1, "no stack file {here}/other.py", NO_STACK_FILE),
        ("aply", 64, "unknown command `aply`", "did you mean `stackpy apply`? `stackpy --help` lists all commands"),
        (
            "image lst",
            64,
            "unknown command `image lst`",
            "did you mean `stackpy image ls`? `stackpy image --help` lists all commands",
        ),
        (
            "plan --detailed",
            64,
            "unknown option `--detailed` for `stackpy plan`",
            f"did you mean `--detailed-exitcode`? `stackpy plan --help` {SEE}",
        ),
        ("plan extra", 64, "`stackpy plan` takes no argument `extra`", f"`stackpy plan --help` {SEE}"),
        ("plan --set replicas", 64, "`--set replicas`: expected KEY=VALUE", "as in `--set replicas=3`"),
        (
            "plan -e production",
            1,
            "no environment `production`: there is no stackpy.toml in {here}",
            "`-e production` needs a table [env.production] in it",
        ),
        (
            "plan --format yaml",
            64,
            "`--format`: unknown value `yaml`",
            "one of text, json, markdown, html, dot, mermaid",
        ),
        ("--engine docker ps", 1, "there is no engine `docker`", "the engines are: embedded"),
        (
            "logs",
            64,
            "`stackpy logs` needs a CONTAINER outside of a stack's folder",
            "`stackpy ps` lists the containers",
        ),
        (
            "logs --since yesterday web",
            64,
            "`--since yesterday`: neither a date nor a duration",
            'as in "10m", "2026-01-31" or "2026-01-31T12:00:00Z"',
        ),
        (
            "stop -t abc web",
            64,
            '`-t abc`: must be a duration such as "1.5s" or "1m30s", or a number of seconds, not "abc"',
            "",
        ),
        ("up -d", 64, "unknown command `up`", "`stackpy apply` makes what runs what stack.py says"),
        ("rmi x", 64, "unknown command `rmi`", "`stackpy image rm` removes images"),
        (
            "container ls",
            64,
            "unknown command `container`",
            "containers need no noun: `stackpy ps`, `stackpy run`, `stackpy rm` …",
        ),
        ("image build .", 64, "unknown command `image build`", "`stackpy build` builds a Dockerfile"),
        ("plan --foo", 64, "unknown option `--foo` for `stackpy plan`", f"`stackpy plan --help` {SEE}"),
        ("build", 64, "there is no stack file here, and no folder is named", BUILD_HERE),
        ("build nofolder", 64, "there is no stack file here, and `nofolder` is no folder", BUILD_HERE),
        ("--root /etc/hosts ps", 1, "the engine root `/etc/hosts` is a file", "give --root, or STACKPY_ROOT, a folder"),
        ("stop", 64, "`stackpy stop` needs at least one CONTAINER", f"`stackpy stop --help` {SEE}"),
        (
            "kill -s HUPP x",
            64,
            '`-s HUPP`: must be a signal such as "SIGTERM", not "HUPP"',
            "did you mean `SIGHUP`?",
        ),
        ("exec web", 64, "`stackpy exec` needs a COMMAND", f"`stackpy exec --help` {SEE}"),
        (
            "run --memory lots x",
            64,
            '`--memory lots`: must be a size such as "256m" or "1.5gb", or a number of bytes, not "lots"',
            "",
        ),
        ("init --template nothing", 64, "there is no template `nothing`", "one of flask, service"),
        ("completion tcsh", 64, "no completion for `tcsh`", "one of bash, zsh, fish"),
        ("reconcile", 64, "`stackpy reconcile` needs a repository", "give it with `--repo URL`"),
        ("output", 64, "there is no stack file here", "change to the stack's folder, or give it with -f"),
        ("destroy", 64, "there is no stack file here", "name the stack: `stackpy destroy --stack NAME`"),
    ],
)
def test_messages(typed: Cli, tmp_path: Path, line: str, code: int, error: str, hint: str) -> None:
    result = typed(*line.split(), cwd=tmp_path, code=code)
    expected = f"error: {error.format(here=tmp_path)}\n" + (f"hint: {hint}\n" if hint else "")
    assert (result.stdout, result.stderr) == ("", expected)
    assert not typed.root.exists()


def test_a_stack_file_above_is_named(typed: Cli, tmp_path: Path) -> None:
    (tmp_path / "stack.py").touch()
    folder = tmp_path / "src" / "app"
    folder.mkdir(parents=True)
    expected = f"error: no stack file {folder}/stack.py\nhint: there is one above: `-f ../../stack.py`\n"
    assert typed("plan", cwd=folder, code=1).stderr == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is told to use sudo")
def test_a_root_that_cannot_be_made(typed: Cli, tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text("from stackpy import Network\nNetwork('a')\n")
    typed.environment["STACKPY_ROOT"] = "/proc/none/root"
    assert typed("apply", "--yes", cwd=tmp_path, code=1).stderr == (
        "error: cannot create `/proc/none`: no such file or directory\n"
        "hint: give --root DIR, or STACKPY_ROOT, another folder\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts, and another user is told to use sudo")
def test_a_root_that_is_read_only(typed: Cli, tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text("from stackpy import Network\nNetwork('a')\n")
    typed.root.mkdir(mode=0o711)
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    typed.program = ["unshare", "--mount", "sh", "-c", script, str(typed.root), *typed.program]
    assert typed("apply", "--yes", cwd=tmp_path, code=1).stderr == (
        f"error: cannot create `{typed.root}/stacks`: read-only file system\n"
        "hint: give --root DIR, or STACKPY_ROOT, another folder\n"
    )
    for name in ("containers", "layers", "blobs", "volumes", "secrets", "stacks", "staging", "locks", "run"):
        (typed.root / name).mkdir(mode=0o700)
    assert typed("volume", "create", "x", code=1).stderr == (
        f"error: `{typed.root}` is read-only\nhint: mount it writable, or give --root DIR another folder\n"
    )


def test_reading_an_engine_that_does_not_exist(typed: Cli) -> None:
    for noun in (["ps"], ["ls"], ["image", "ls"], ["network", "ls"], ["volume", "ls"]):
        assert typed.json(*noun) == []
        assert len(typed(*noun).stdout.splitlines()) == 1
    assert not typed.root.exists()


def test_help_everywhere(typed: Cli) -> None:
    everything = typed("--help").stdout
    assert everything == typed().stdout == typed("help").stdout
    assert "stackpy init" in everything
    assert typed("plan", "--help").stdout == typed("help", "plan").stdout
    assert typed("image", "--help").stdout == typed("image").stdout
    assert typed("run", "-h", "box", "--help").stdout.startswith(
        "Usage: stackpy run [OPTIONS] IMAGE [COMMAND [ARG...]]"
    )


def test_version(typed: Cli) -> None:
    assert typed("version").stdout.startswith("stackpy ")
    assert set(typed.json("version")) == {"version", "python", "kernel"}


def test_an_unexpected_error_is_one_line_and_a_file(typed: Cli, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import stackpy.cli.terminal\n"
        "def broken(*_): raise RuntimeError('impossible')\n"
        "stackpy.cli.terminal.print_json = broken\n"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{typed.environment['PYTHONPATH']}", "TMPDIR": str(tmp_path)}
    result = typed("--set", "password=hunter2", "--format", "json", "version", code=1, environment=environment)
    first, second = result.stderr.splitlines()
    assert first == "error: unexpected RuntimeError: impossible"
    path = Path(second.removeprefix("hint: this is a defect of stackpy; its traceback is in "))
    content = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert "RuntimeError: impossible" in content
    assert "hunter2" not in content
    verbose = typed("-v", "--format", "json", "version", code=1, environment=environment)
    assert "Traceback" in verbose.stderr


def test_colour_only_for_a_terminal_and_without_no_color(typed: Cli) -> None:
    def shown(**environment: str) -> str:
        ours, theirs = os.openpty()
        subprocess.run(
            [*typed.program, "aply"],
            stderr=theirs,
            check=False,
            env={**typed.environment, "TERM": "xterm", **environment},
        )
        os.close(theirs)
        text = os.read(ours, 4096).decode()
        os.close(ours)
        return text

    assert "\x1b[1;31merror:\x1b[0m unknown command" in shown()
    assert "\x1b" not in shown(NO_COLOR="1")
    assert "\x1b" not in shown(TERM="dumb")


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which takes root")
def test_without_root_it_says_what_to_do(typed: Cli) -> None:
    # pytest's own folders are root's alone
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        assert_refused(typed, Path(folder))


def assert_refused(typed: Cli, folder: Path) -> None:
    (folder / "stack.py").write_text(
        'from stackpy import Container, Image\nContainer("a", image=Image.host("sh"), command=["sh"])\n'
    )
    others = {"user": "nobody", "group": "nogroup", "extra_groups": [], "env": {**typed.environment, "HOME": "/"}}
    for python in (sys.executable, "/usr/bin/python3"):  # the first may lie in root's home
        line = [python, *typed.program[1:], "apply", "--yes"]
        try:
            result = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, **others)
            break
        except PermissionError:
            continue
    assert result.returncode == 1
    assert result.stderr == (
        "error: containers are run by root, and this user is not root\nhint: run it again with sudo\n"
    )


def test_inspect_of_json_is_one_document(typed: Cli, tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text('from stackpy import Network\nNetwork("a")\n')
    document = json.loads(typed("validate", "--format", "json", cwd=tmp_path).stdout)
    assert document["resources"] == ["network.a"]
