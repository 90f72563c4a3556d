from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stackpy.errors import StackFileError, StackpyError
from stackpy.project import Inputs, load
from tests.unit.stack_files import HEADER, complaints, load_text, resources, write

REPOSITORY = Path(__file__).parent.parent.parent
TOML = """
[vars]
a = "vars"
b = "vars"
c = "vars"
d = "vars"
[env.prod]
name = "shop-prod"
engine = "docker://"
[env.prod.vars]
a = "env"
b = "env"
c = "env"
[env.prod.network]
publish = "0.0.0.0"
[env.dev]
file = "dev.py"
"""
VARIABLES = "for name in 'abcde':\n    Output(name, var(name, default='default'))"


def names_below(folder: Path, paths: tuple[str, ...]) -> list[str]:
    return [path.removeprefix(f"{folder}/") for path in paths]


def test_where_a_variable_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        monkeypatch.setenv(f"STACKPY_VAR_{name}", "environment")
    loaded = load_text(tmp_path, VARIABLES, {"stackpy.toml": TOML}, environment="prod", sets={"a": "set"})
    assert dict(loaded.stack.outputs) == {"a": "set", "b": "environment", "c": "env", "d": "vars", "e": "default"}


@pytest.mark.parametrize(
    ("call", "given", "expected"),
    [
        ("var('x', default=1)", "2", 2),
        ("var('x', default=1.5)", "2", 2.0),
        ("var('x', default=False)", "Yes", True),
        ("var('x', default=True)", "off", False),
        ("var('x', default='a')", "2", "2"),
        ("var('x', default=['a'])", "b, c", ["b", "c"]),
        ("var('x', default=[])", "", []),
        ("var('x', default=None)", "2", "2"),
        ("var('x', default=None, type=int)", "2", 2),
        ("var('x')", "2", "2"),
        ("var('x', type=int)", "-2", -2),
        ("var('x', default=1)", None, 1),
        ("var('x', default=('a',))", None, ["a"]),
        ("var('x', default=None)", None, None),
    ],
)
def test_types_of_variables(tmp_path: Path, call: str, given: str | None, expected: Any) -> None:
    loaded = load_text(tmp_path, f"Output('x', {call})", sets={} if given is None else {"x": given})
    assert loaded.stack.outputs["x"] == expected
    assert type(loaded.stack.outputs["x"]) is type(expected)


@pytest.mark.parametrize(
    ("settings", "text", "options", "expected"),
    [
        ("", "", {}, "my-shop_1"),
        ("", "Stack('own')", {}, "own"),
        ("", "", {"name": "Repo.git"}, "repogit"),
        ("name = 'toml'", "Stack('own')", {"name": "x"}, "toml"),
        ("name = 'toml'\n[env.prod]\nname = 'prod'", "Output('n', Stack('own').name)", {"environment": "prod"}, "prod"),
    ],
)
def test_names_of_stacks(tmp_path: Path, settings: str, text: str, options: dict[str, Any], expected: str) -> None:
    folder = tmp_path / "My-Shop_1"
    folder.mkdir()
    loaded = load_text(folder, text, {"stackpy.toml": settings}, **options)
    assert (loaded.stack.name, loaded.stack.outputs.get("n", expected)) == (expected, expected)


def test_settings_of_an_environment(tmp_path: Path) -> None:
    write(tmp_path, {"dev.py": "from stackpy import *\nOutput('which', 'dev')"})
    text = "Output('which', 'stack')\nContainer('web', image='x', ports=['80:80', '127.0.0.2:81:81'])"
    prod = load_text(tmp_path, text, {"stackpy.toml": TOML}, environment="prod")
    dev = load(folder=str(tmp_path), environment="dev")
    addresses = [port["host_ip"] for port in prod.stack.resources["container.web"].fields["ports"]]
    assert (prod.stack.name, prod.settings.engine, prod.settings.publish, addresses) == (
        "shop-prod", "docker://", "0.0.0.0", ["0.0.0.0", "127.0.0.2"],
    )  # fmt: skip
    assert (dict(dev.stack.outputs), dev.settings.engine, dev.settings.publish) == (
        {"which": "dev"}, "embedded", "127.0.0.1",
    )  # fmt: skip


def test_the_stack_file_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"deploy/other.py": "from stackpy import *\nOutput('v', var('v', default='none'))\nFile('x')"})
    write(tmp_path, {"deploy/stack.py": "", "stackpy.toml": "[vars]\nv = 'above'"})
    monkeypatch.chdir(tmp_path)
    above = load("deploy/other.py")
    write(tmp_path, {"deploy/stackpy.toml": "[vars]\nv = 'beside'"})
    beside = load("deploy/other.py")
    of_folder = load("deploy")
    assert (above.stack.outputs["v"], beside.stack.outputs["v"]) == ("above", "beside")
    assert (above.stack.folder, above.stack.name) == (str(tmp_path / "deploy"), "deploy")
    assert of_folder.inputs.files[0] == str(tmp_path / "deploy/stack.py")


def test_no_stack_file(tmp_path: Path) -> None:
    with pytest.raises(StackpyError) as caught:
        load(folder=str(tmp_path))
    assert caught.value.message == f"no stack file {tmp_path}/stack.py"


def test_a_folder_without_a_usable_name(tmp_path: Path) -> None:
    folder = tmp_path / "…"
    folder.mkdir()
    assert complaints(folder, "").splitlines()[0] == (
        "error: the folder's name `…` holds nothing that a stack's name may hold"
    )


def test_inputs_are_all_that_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGION", "x")
    text = """
import json, os, pathlib
from lib import names
with open("data.json") as file: json.load(file)
pathlib.Path("note.txt").read_text()
os.environ["REGION"], os.getenv("ABSENT"), "ASKED" in os.environ
os.listdir("listed")
open("written", "w").close()
app = Image.scratch().copy("src/", "one.txt", "globs/*/x", "/app/")
Container("web", image=app, volumes=["./bound:/bound"], files={"/a": template("a.j2"), "/b": File("b.txt")},
          env_file="web.env")
Secret("s", file="secret.txt")
Secret("t", env="TOKEN")
"""
    files: dict[str, str | bytes] = {
        "data.json": "{}", "note.txt": "", "src/x": "", "one.txt": "", "globs/a/x": "", "bound/x": "", "listed/x": "",
        "a.j2": "", "b.txt": "", "web.env": "", "lib/__init__.py": "", "lib/names.py": "from lib import more",
        "lib/more.py": "",
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    inputs = load_text(tmp_path, text, files).inputs
    assert inputs == Inputs(
        tuple(
            str(tmp_path / name)
            for name in [
                "stack.py", ".dockerignore", "a.j2", "b.txt",  "data.json", "note.txt", "one.txt",
                "secret.txt", "stackpy.lock", "stackpy.toml", "web.env",
            ]
        ),
        tuple(str(tmp_path / name) for name in ["globs", "listed", "src"]),
        ("ABSENT", "ASKED", "REGION", "TOKEN"),
        tuple(str(tmp_path / f"lib/{name}.py") for name in ["__init__", "more", "names"]),
    )  # fmt: skip
    assert set(inputs.paths) == {*inputs.files, *inputs.folders, *inputs.modules}


def test_a_failed_load_tells_what_it_had_read(tmp_path: Path) -> None:
    with pytest.raises(StackFileError) as caught:
        load_text(
            tmp_path, "import part\nFile('x', mode='9')\nContainer('a', image='b', env_file='none')", {"part.py": ""}
        )
    assert names_below(tmp_path, caught.value.paths) == ["stack.py", "none", "stackpy.lock", "stackpy.toml", "part.py"]


def test_modules_are_read_anew_by_each_load(tmp_path: Path) -> None:
    text = "import part, package.inner\nfrom folder import inner\nOutput('n', [part.N, package.inner.N, inner.N])"
    before = list(sys.path)
    for number in range(3):
        files = {"part.py": f"N = {number}", "package/__init__.py": "", "package/inner.py": f"N = {number}"}
        files["folder/inner.py"] = f"N = {number}"
        loaded = load_text(tmp_path, text, files)
        assert loaded.stack.outputs["n"] == [number, number, number]
    assert sys.path == before
    assert not {"part", "package", "package.inner", "folder", "__stack__"} & set(sys.modules)
    assert not list(tmp_path.rglob("*.pyc"))


def test_a_failed_load_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    before = (list(sys.path), set(sys.modules), sys.stdout, sys.dont_write_bytecode, type(os.environ))
    complaints(tmp_path, "import part\nraise ValueError", {"part.py": ""})
    after = (list(sys.path), {"stackpy.project.failures", "ast"} | before[1], sys.stdout, sys.dont_write_bytecode)
    assert (*after[:1], *after[2:], type(os.environ)) == (before[0], *before[2:])
    assert "part" not in sys.modules
    assert resources(tmp_path, "Volume('fine')").keys() == {"volume.fine"}


def test_dataclasses_and_main_guards_work(tmp_path: Path) -> None:
    text = """
import dataclasses
@dataclasses.dataclass
class Service:
    name: "str"
    port: int = 80
if __name__ == "__main__":
    raise SystemExit
Output("service", dataclasses.asdict(Service("web")))
Output("file", __file__)
"""
    outputs = load_text(tmp_path, text).stack.outputs
    assert outputs == {"service": {"name": "web", "port": 80}, "file": str(tmp_path / "stack.py")}


def test_what_a_stack_file_prints_leaves_stdout_clean(tmp_path: Path) -> None:
    text = "from stackpy import *\nimport os, sys\nprint('printed')\nsys.stdout.flush()\nos.system('echo program')\n"
    write(tmp_path, {"stack.py": text})
    program = "from stackpy.project import load; load(); print('{}')"
    path = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'runtime'}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("{}\n", "printed\nprogram\n")


SECRETS = """
Secret("env", env="TOKEN")
Secret("file", file="conf/token")
Secret("command", command="printf 'from command\\n'")
Secret("folder", command=["sh", "-c", "basename $PWD"])
Secret("unset", env="TOKEN_THAT_IS_NOT_SET")
Secret("missing", file="nothing")
"""


def test_secrets_are_read_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "from environment")
    loaded = load_text(tmp_path, SECRETS)
    write(tmp_path, {"conf/token": b"from file\n\xff"})
    values = {
        name: loaded.secrets.get(name) for name in ("env", "file", "command", "folder", "unset", "missing", "other")
    }
    assert values == {
        "env": b"from environment", "file": b"from file\n\xff", "command": b"from command",
        "folder": tmp_path.name.encode(), "unset": None, "missing": None, "other": None,
    }  # fmt: skip
    assert {name: spec.fields["source"] for name, spec in loaded.stack.resources.items()} == {
        "secret.env": {"env": "TOKEN"},
        "secret.file": {"file": str(tmp_path / "conf/token")},
        "secret.command": {"command": ["printf", "from command\n"]},
        "secret.folder": {"command": ["sh", "-c", "basename $PWD"]},
        "secret.unset": {"env": "TOKEN_THAT_IS_NOT_SET"},
        "secret.missing": {"file": str(tmp_path / "nothing")},
    }


def test_values_of_secrets_show_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    loaded = load_text(tmp_path, 'Container("web", image="x", secrets=[Secret("s", env="TOKEN")])')
    assert loaded.secrets.get("s") == b"hunter2"
    shown = f"{loaded!r} {loaded.secrets} {loaded.secrets!r} {getattr(loaded.secrets, '__dict__', '')}"
    assert "hunter2" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(loaded.secrets)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sh -c 'echo hunter2; echo hunter2 >&2; exit 3'", "secret `s`: `sh` exited with 3"),
        ("sh -c 'echo hunter2; kill -9 $$'", "secret `s`: `sh` was killed by signal 9"),
        ("program-that-is-nowhere", "secret `s`: cannot run `program-that-is-nowhere`: no such file or directory"),
    ],
)
def test_commands_that_fail_say_nothing_of_what_they_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str, message: str
) -> None:
    loaded = load_text(tmp_path, f"Secret('s', command={command!r})")
    with pytest.raises(StackpyError) as caught:
        loaded.secrets.get("s")
    assert caught.value.message == message
    assert "hunter2" not in f"{caught.value!r} {caught.value.hint} {capfd.readouterr()}"


def test_an_unreadable_secret_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, {"folder/x": ""})
    loaded = load_text(tmp_path, "Secret('s', file='folder')")
    with pytest.raises(StackpyError) as caught:
        loaded.secrets.get("s")
    assert caught.value.message == f"secret `s`: cannot read {tmp_path}/folder: is a directory"


def test_lines_of_env_files_are_never_shown(tmp_path: Path) -> None:
    for line in ("PASSWORD='hunter2", "hunter2 hunter2", 'P="hunter2" hunter2'):
        shown = complaints(tmp_path, "Container('a', image='b', env_file='x.env')", {"x.env": line})
        assert "line 1 of `x.env`" in shown
        assert "hunter2" not in shown


PLAIN = """
Stack("shop")
app = Image.host("python3").env(A="b").run("true", cache="/c").tag("app")
Container("web", image=app, networks=[Network("n", internal=True)], volumes={Volume("data"): "/d"},
          secrets=[Secret("s", env="S")], ports=["8080:80"], environment={"A": 1}, files={"/x": "y"},
          healthcheck=HealthCheck(["true"], interval="1s"))
Output("url", "x")
"""


def imported_by(folder: Path, program: str) -> set[str]:
    paths = [str(REPOSITORY), str(REPOSITORY / "runtime")]
    text = f"import sys; sys.path[:0] = {paths!r}; {program}; print(*sorted(sys.modules))"
    # without site-packages' .pth files, which import what they like
    command = [sys.executable, "-I", "-S", "-c", text]
    return set(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.split())


def test_a_load_imports_only_what_it_uses(tmp_path: Path) -> None:
    write(tmp_path, {"stack.py": HEADER + PLAIN})
    costly = {
        "ast", "asyncio", "base64", "dataclasses", "difflib", "glob", "inspect", "ipaddress", "jinja2", "json",
        "logging", "msgspec", "pathlib", "shlex", "signal", "socket", "subprocess", "tempfile", "threading", "tomllib",
        "traceback", "urllib",
    }  # fmt: skip
    imported = imported_by(tmp_path, "from stackpy.project import load; load()")
    assert not imported & costly
    engine = {name for name in imported if name.startswith("stackpy_runtime")}
    assert engine == {"stackpy_runtime", "stackpy_runtime.patterns", "stackpy_runtime.records"}


def test_settings_alone_import_hardly_any_of_the_dsl(tmp_path: Path) -> None:
    imported = imported_by(tmp_path, "from stackpy.project import settings; settings()")
    assert {name for name in imported if name.startswith("stackpy.dsl.")} == {
        "stackpy.dsl.alphabets",
        "stackpy.dsl.values",
    }


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("File('fifo')", "cannot read `fifo`: not a regular file"),
        ("File('/dev/zero')", "cannot read `/dev/zero`: not a regular file"),
        ("File('folder')", "cannot read `folder`: is a directory"),
        ("File('large')", "cannot read `large`: it is larger than 4 MiB; copy it into the image"),
        ("template('binary')", "cannot read `binary`: it is not UTF-8 text"),
        ("template('fifo')", "cannot read `fifo`: not a regular file"),
        ("File('folder/x/y')", "cannot read `folder/x/y`: not a directory"),
    ],
)
def test_files_that_cannot_be_placed(tmp_path: Path, source: str, why: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    files: dict[str, str | bytes] = {"folder/x": "", "binary": b"\xff", "large": b"x" * (4 * 2**20 + 1)}
    shown = complaints(tmp_path, f"Container('a', image='b', files={{'/x': {source}}})", files)
    assert shown.splitlines()[0] == f"error: {why}"


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("mac_address", "it follows from the IPv4 address, so that no container can take another's"),
        ("userns_mode", "did you mean `userns`?"),
        ("container_name", "containers are named STACK-NAME-NUMBER"),
        ("enviroment", "did you mean `environment`?"),
        ("memory_limit", "did you mean `mem_limit`?"),
        ("healtcheck", "did you mean `healthcheck`?"),
    ],
)
def test_hints_for_fields(tmp_path: Path, field: str, hint: str) -> None:
    shown = complaints(tmp_path, f"Container('a', image='b', {field}=1)")
    assert shown.splitlines()[-1] == f"hint: {hint}"
