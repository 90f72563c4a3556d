"""Registries as users meet them: `run` fetches, stacks pull and push, stackpy.lock holds what tags meant."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Cli, checked_out, clean_host
from tests.registry_lab import Registry, docker_registry

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """One root for all: each test begins without the images that it wants to be fetched."""
    with clean_host(checked_out(tmp_path_factory.mktemp("fetching") / "root")) as command:
        yield command


@pytest.fixture(scope="module")
def base(box: Cli, registry: Registry) -> str:
    """A reference in the registry whose image is `box`."""
    reference = registry.name("base:1")
    box("tag", "box", reference)
    assert re.fullmatch(r"1: digest: sha256:[0-9a-f]{64}\n", box("push", reference).stdout)
    box("image", "rm", reference)
    return reference


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "stack.py").write_text(f"from stackpy import Container, Image\n{text}")
    return folder


def test_run_fetches_what_is_missing_as_docker_does(cli: Cli, base: str) -> None:
    never = cli("run", "--rm", "--pull", "never", base, "cat", "/proc/1/comm", code=125)
    assert never.stderr.startswith(f"error: no such image: `{base}`")
    first = cli("run", "--rm", "--network", "none", base, "sh", "-c", "echo hello")
    assert first.stdout == "hello\n"
    assert first.stderr.splitlines()[0] == f"Unable to find image '{base}' locally"
    again = cli("run", "--rm", "--network", "none", base, "sh", "-c", "echo hello")
    assert (again.stdout, again.stderr) == ("hello\n", "")
    always = cli("run", "--rm", "--network", "none", "--pull", "always", base, "sh", "-c", "echo hello")
    assert always.stdout == "hello\n"
    assert "already there" in always.stderr
    cli("create", "--name", "made", "--pull", "always", base, "cat")
    cli("rm", "made")
    cli("image", "rm", base)


def test_pull_says_what_docker_says(cli: Cli, base: str) -> None:
    digest = r"Digest: sha256:[0-9a-f]{64}\n"
    assert re.fullmatch(f"{digest}Status: Downloaded newer image for {base}\n{base}\n", cli("pull", base).stdout)
    assert re.fullmatch(f"{digest}Status: Image is up to date for {base}\n{base}\n", cli("pull", base).stdout)
    assert cli("pull", "--quiet", base).stdout == f"{base}\n"
    assert cli("image", "pull", "-a", "-q", base.removesuffix(":1")).stdout == f"{base}\n"
    missing = cli("pull", f"{base}23", code=1)
    assert f"{base}23" in missing.stderr and missing.stdout == ""


def test_a_stack_pulls_builds_pushes_and_pins(
    cli: Cli, box: Cli, registry: Registry, base: str, tmp_path: Path
) -> None:
    moving = registry.name("moving:1")
    box("tag", "box", moving)
    box("push", moving)
    published = registry.name("shop/api:1")
    shop = write(
        tmp_path / "shop",
        f"api = Image({moving!r}).run('echo one > /one').tag('api').publish({published!r})\n"
        f"Container('api', image=api, command=['sleep', '1000'])\n"
        f"Container('raw', image={moving!r}, command=['sleep', '1000'])\n",
    )
    plan = cli.json("plan", cwd=shop)
    assert plan["summary"] == {"pull": 2, "build": 1, "create": 3, "push": 1}
    assert cli.json("plan", "--target", "container.api", cwd=shop)["summary"] == {"pull": 1, "build": 1, "create": 2}
    cli("build", cwd=shop)
    assert cli.json("plan", cwd=shop)["summary"] == {"create": 3, "push": 1}
    cli("apply", "--yes", cwd=shop)
    digest = json.loads(registry.skopeo("inspect", f"docker://{moving}"))["Digest"]
    lock = (shop / "stackpy.lock").read_text()
    assert lock.splitlines()[-2:] == [f'[images."{moving}"]', f'"linux/amd64" = "{digest}"']
    assert registry.inspect("shop/api:1")["Digest"].startswith("sha256:")
    assert "nothing to change" in cli("plan", "--check-updates", cwd=shop).stdout

    # The tag moves: nothing happens until the lock does.
    folder = write(tmp_path / "other", f"Image('box').run('echo two > /two').tag('two').publish({moving!r})\n")
    box("apply", "--yes", cwd=folder)
    quiet = cli("plan", "--check-updates", cwd=shop).stdout
    assert "nothing to change" in quiet
    assert f"`stackpy lock --update {moving}` takes it" in quiet
    (shop / "stackpy.lock").unlink()  # as if another machine had another lock
    cli("lock", cwd=shop)
    assert (shop / "stackpy.lock").read_text() == lock
    moved = cli("lock", "--update", moving, cwd=shop).stdout
    assert moved.startswith(f"{moving} (linux/amd64): {digest[:19]} → sha256:")
    text = cli("plan", cwd=shop).stdout
    assert f"pull {moving}" in text and "because stackpy.lock names another digest" in text
    assert "because its image changes" in text
    cli("apply", "--yes", cwd=shop)
    assert cli("exec", "shop-raw-1", "cat", "/two").stdout == "two\n"
    assert "nothing to change" in cli("plan", cwd=shop).stdout
    cli("destroy", "--yes", "--images", cwd=shop)


def test_a_dockerfile_stands_on_what_a_registry_has(cli: Cli, base: str, tmp_path: Path) -> None:
    cli("image", "rm", base)
    folder = write(tmp_path / "files", "Image.dockerfile('.').tag('web')\n")
    (folder / "Dockerfile").write_text(f"FROM {base} AS one\nRUN echo 1 > /one\nFROM {base}\nCOPY --from=one /one /\n")
    assert cli.json("plan", cwd=folder)["summary"] == {"pull": 1, "build": 1}
    cli("apply", "--yes", cwd=folder)
    assert base in (folder / "stackpy.lock").read_text()
    assert cli("run", "--rm", "--network", "none", "web", "cat", "/one").stdout == "1\n"
    cli("destroy", "--yes", "--images", cwd=folder)


def test_login_and_logout(cli: Cli, tmp_path: Path) -> None:
    (folder := tmp_path / "docker").mkdir()
    mine = {"environment": {"DOCKER_CONFIG": str(folder)}}
    with docker_registry(tmp_path / "locked", users=True) as registry:
        host, (user, _, password) = registry.host, registry.login.partition(":")
        words = ("login", "-u", user, "--password-stdin", host)
        assert "`stackpy login" in cli("pull", f"{host}/app", code=1, **mine).stderr
        wrong = cli(*words, given="wrong", code=1, **mine)
        assert (wrong.stdout, list(folder.iterdir())) == ("", [])
        assert "--password-stdin" in cli("login", host, code=1, **mine).stderr
        right = cli(*words, given=f"{password}\n", **mine)
        assert right.stdout == "Login Succeeded\n" and password not in right.stderr
        assert (folder / "config.json").stat().st_mode & 0o777 == 0o600
        cli("tag", cli("image", "ls", "-q").stdout.split()[0], f"{host}/app")
        cli("push", "-q", f"{host}/app", **mine)
        assert registry.inspect("app")["RepoTags"] == ["latest"]
        assert cli("logout", host, **mine).stdout == f"Removing login credentials for {host}\n"
        assert cli("logout", host, **mine).stdout == f"Not logged in to {host}\n"
        assert json.loads((folder / "config.json").read_text())["auths"] == {}


def test_a_stack_trusts_the_authority_that_its_settings_name(cli: Cli, box: Cli, base: str, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "safe", tls=True) as registry:
        registry.skopeo(
            "copy", "--src-tls-verify=false", f"docker://{base}", f"docker://{registry.name('app:1')}", side="dest-"
        )
        shop = write(tmp_path / "shop", f"Image({registry.name('app:1')!r}).run('true').tag('app')\n")
        distrust = cli("plan", cwd=shop, code=1).stderr
        assert "cannot be trusted" in distrust and f'[registries."{registry.host}"]' in distrust
        (shop / "certs").mkdir()
        (shop / "certs" / "ca.pem").write_bytes(Path(registry.ca).read_bytes())
        (shop / "stackpy.toml").write_text(f'[registries."{registry.host}"]\nca = "certs/ca.pem"\n')
        assert cli.json("plan", cwd=shop)["summary"] == {"pull": 1, "build": 1}
        cli("apply", "--yes", cwd=shop)
        cli("destroy", "--yes", "--images", cwd=shop)


def test_settings_of_registries_are_checked(cli: Cli, tmp_path: Path) -> None:
    folder = write(tmp_path / "wrong", "Image.scratch().tag('x')\n")
    (folder / "stackpy.toml").write_text(
        '[registries."a.example"]\nca = 1\nsecure = true\nmirrors = "b"\ninsecure = 1\n'
    )
    found = cli("validate", cwd=folder, code=1).stderr
    for part in (
        "ca` must be the path",
        "unknown setting",
        "mirrors` must be a list",
        "insecure` must be true or false",
    ):
        assert part in found
    (folder / "stackpy.toml").write_text("")
    (folder / "stackpy.lock").write_text('[images."a"]\n"linux/amd64" = "sha256:1"\n')
    assert "`sha256:1` is not a digest" in cli("validate", cwd=folder, code=1).stderr


def test_pull_policies(cli: Cli, box: Cli, registry: Registry, tmp_path: Path) -> None:
    """`never` asks no registry; `always` follows a tag, whatever is here and in stackpy.lock; `daily` waits a day."""
    moving = registry.name("followed:1")

    def publish(mark: str) -> None:
        folder = write(
            tmp_path / f"made-{mark}", f"""Container("web", image=Image("box").env(MARK={mark!r}).tag({moving!r}))"""
        )
        box("build", cwd=folder)
        box("push", moving)

    def stack(policy: str) -> Path:
        fields = f'command=["sleep", "600"], pull_policy={policy!r}, network_mode="none"'
        return write(tmp_path / "follows", f'Container("web", image={moving!r}, {fields})')

    def mark() -> str:
        (document,) = json.loads(cli("inspect", "follows-web-1").stdout)
        return next(line for line in document["Config"]["Env"] if line.startswith("MARK="))

    publish("1")
    refused = cli("plan", cwd=stack("never"), code=1)
    assert "is not in the store, and its pull_policy is `never`" in refused.stderr
    cli("apply", "--yes", cwd=stack("always"))
    assert mark() == "MARK=1"
    assert "nothing to change" in cli("plan", cwd=stack("always")).stdout
    publish("2")
    for policy in ("never", "daily", "missing"):
        assert "nothing to change" in cli("plan", cwd=stack(policy)).stdout, policy
    plan = cli("plan", cwd=stack("always")).stdout
    assert "its registry has another now" in plan
    cli("apply", "--yes", cwd=stack("always"))
    assert mark() == "MARK=2"
    assert "nothing to change" in cli("plan", cwd=stack("missing")).stdout, "stackpy.lock has moved with it"
    cli("destroy", "--yes", "--images", cwd=stack("missing"))
