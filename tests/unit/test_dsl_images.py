from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.stack_files import complaints, load_text, resources


def source(folder: Path, text: str, files: dict[str, str | bytes] | None = None) -> dict[str, Any]:
    found = resources(folder, f"app = {text}\nContainer('web', image=app)", files)["image.web"]
    return dict(found.fields["source"])


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("Image('debian:bookworm')", {"kind": "image", "reference": "debian:bookworm"}),
        ("Image('localhost:5000/a/b:1')", {"kind": "image", "reference": "localhost:5000/a/b:1"}),
        ("'nginx'", {"kind": "image", "reference": "nginx"}),
        ("Image.scratch()", {"kind": "scratch"}),
        ("Image.host('python3', '/bin/sh')", {"kind": "host", "programs": ["python3", "/bin/sh"]}),
        ("Image.bootstrap('debian:bookworm', packages=['curl', 'libc6:i386'])",
         {"kind": "bootstrap", "suite": "debian:bookworm", "packages": ["curl", "libc6:i386"]}),
        ("Image.bootstrap('bookworm')", {"kind": "bootstrap", "suite": "debian:bookworm", "packages": []}),
    ],
)  # fmt: skip
def test_bases(tmp_path: Path, text: str, base: dict[str, Any]) -> None:
    assert source(tmp_path, text) == {"base": base, "steps": []}


def test_archive_is_found_beside_the_stack_file(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "Container('web', image=Image.archive('img.tar'))", {"img.tar": b""})
    base = loaded.stack.resources["image.web"].fields["source"]["base"]
    assert base == {"kind": "archive", "path": str(tmp_path / "img.tar")}
    assert str(tmp_path / "img.tar") in loaded.inputs.files


def test_dockerfile_is_found_beside_the_stack_file(tmp_path: Path) -> None:
    text = "Container('web', image=Image.dockerfile('app', target='run', args={'N': 1}).env(A='1'))"
    loaded = load_text(tmp_path, text, {"app/Dockerfile": "FROM scratch\n"})
    source = loaded.stack.resources["image.web"].fields["source"]
    folder = str(tmp_path / "app")
    base = {
        "kind": "dockerfile",
        "context": folder,
        "target": "run",
        "args": {"N": "1"},
        "path": f"{folder}/Dockerfile",
    }
    assert (source["base"], [step["instruction"] for step in source["steps"]]) == (base, ["env"])
    watched = {f"{folder}/Dockerfile", f"{folder}/Dockerfile.dockerignore", f"{folder}/.dockerignore"}
    assert watched <= set(loaded.inputs.files)
    assert folder in loaded.inputs.folders


def test_an_image_takes_files_from_others(tmp_path: Path) -> None:
    text = (
        "tools = Image('alpine').run('t')\n"
        "built = Image('golang').copy('/t', '/t', from_=tools).run('b')\n"
        "app = Image('debian').copy('/b', '/b', from_=built).copy('/t', '/t', from_=tools)\n"
        "app = app.copy('/c', '/c', from_=built)\n"
        "Container('web', image=app)"
    )
    found = resources(tmp_path, text)
    made = found["image.web"].fields["source"]
    assert [step["from_stage"] for step in made["steps"]] == ["image-2", "image-1", "image-2"]
    assert {
        name: (stage["base"]["reference"], [step["text"] for step in stage["steps"]])
        for name, stage in made["stages"].items()
    } == {
        "image-1": ("alpine", ["RUN t"]),
        "image-2": ("golang", ["COPY --from=… /t /t", "RUN b"]),
    }
    assert made["stages"]["image-2"]["steps"][0]["from_stage"] == "image-1"


def test_images_that_take_from_different_ones_are_different(tmp_path: Path) -> None:
    text = (
        "a, b = (Image('debian').copy('/x', '/x', from_=Image('alpine').run(each)) for each in ('1', '2'))\n"
        "Container('a', image=a)\nContainer('b', image=b)"
    )
    assert {name for name in resources(tmp_path, text) if name.startswith("image.")} == {"image.a", "image.b"}


def test_an_image_cannot_take_files_from_itself(tmp_path: Path) -> None:
    text = "a = Image('debian').copy('/x', '/x', from_=Image('me:1').run('x')).tag('me:1')\nContainer('a', image=a)"
    assert complaints(tmp_path, text).splitlines()[0] == "error: image `me:1` stands on itself"


@pytest.mark.parametrize(
    ("mount", "fields", "written"),
    [
        ("cache('/c')", {"type": "cache", "target": "/c", "sharing": "shared", "id": "/c"},
         "type=cache,target=/c,sharing=shared,id=/c"),
        ("cache('/c', id='x', sharing='locked', mode='755', uid=1, gid=2, from_='alpine', source='/s', readonly=True)",
         {"type": "cache", "target": "/c", "id": "x", "sharing": "locked", "from_image": "alpine", "source": "/s",
          "readonly": True, "mode": 0o755, "uid": 1, "gid": 2},
         "from=alpine,type=cache,target=/c,id=x,sharing=locked,source=/s,readonly=true,mode=0755,uid=1,gid=2"),
        ("bind('a.txt', '/a')", {"type": "bind", "source": "a.txt", "target": "/a"},
         "type=bind,source=a.txt,target=/a"),
        ("bind('/etc', '/e', from_='debian', readonly=False)",
         {"type": "bind", "source": "/etc", "target": "/e", "from_image": "debian", "readonly": False},
         "from=debian,type=bind,source=/etc,target=/e,readonly=false"),
        ("tmpfs('/t', size='64m')", {"type": "tmpfs", "target": "/t", "size": 64 << 20},
         "type=tmpfs,target=/t,size=67108864"),
        ("secret('token')", {"type": "secret", "id": "token", "target": "/run/secrets/token"},
         "type=secret,id=token,target=/run/secrets/token"),
        ("secret('token', env='TOKEN', required=True)",
         {"type": "secret", "id": "token", "env": "TOKEN", "required": True},
         "type=secret,id=token,env=TOKEN,required=true"),
        ("ssh()", {"type": "ssh", "id": "default"}, "type=ssh,id=default"),
        ("ssh('k', target='/s', mode=0o600)", {"type": "ssh", "id": "k", "target": "/s", "mode": 0o600},
         "type=ssh,id=k,target=/s,mode=0600"),
    ],
)  # fmt: skip
def test_mounts(tmp_path: Path, mount: str, fields: dict[str, Any], written: str) -> None:
    (step,) = source(tmp_path, f"Image('a').run('x', mounts=BuildMount.{mount})", {"a.txt": ""})["steps"]
    local = fields["type"] == "bind" and "from_image" not in fields
    assert step["mounts"] == [fields]
    assert step["text"] == f"RUN --mount={written} x"
    assert step.get("context") == (str(tmp_path) if local else None)


def test_a_step_mounts_from_another_image(tmp_path: Path) -> None:
    text = "Image('a').run(['x'], mounts=[BuildMount.bind('/', '/m', from_=Image('b').run('y'))], network='host')"
    made = source(tmp_path, text)
    assert made["steps"][0]["mounts"] == [{"type": "bind", "source": "/", "target": "/m", "from_stage": "image-1"}]
    assert made["steps"][0]["network"] == "host"
    assert made["stages"]["image-1"]["base"] == {"kind": "image", "reference": "b", "context": str(tmp_path)}


def test_the_shell_that_was_named_last_runs_lines(tmp_path: Path) -> None:
    steps = source(tmp_path, "Image('a').run('x').shell('/bin/bash', '-ec').run('x').run(['y']).cmd('z')")["steps"]
    assert [step["argv"] for step in steps] == [
        ["/bin/sh", "-c", "x"],
        ["/bin/bash", "-ec"],
        ["/bin/bash", "-ec", "x"],
        ["y"],
        ["/bin/bash", "-ec", "z"],
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("volume('data')", 'must be an absolute path, not "data"'),
        ("volume()", "`volume` names no folder"),
        ("healthcheck(HealthCheck(tcp=80))", "an image's health check runs a command"),
        ("stop_signal('SIGNOTHING')", 'must be a signal such as "SIGTERM", not "SIGNOTHING"'),
        ("shell()", "`shell` names no program"),
        ("on_build('FROM a')", "cannot be FROM"),
        ("run('x', mounts='type=cache')", 'must be a list of BuildMounts, not "type=cache"'),
        ("run('x', mounts=BuildMount.bind('nowhere', '/x'))", "no such file or folder: `nowhere`"),
        ("run('x', mounts=BuildMount.cache('c'))", 'must be an absolute path, not "c"'),
        (
            "run('x', mounts=BuildMount.cache('/c', sharing='all'))",
            'must be `shared`, `locked` or `private`, not "all"',
        ),
        ("run('x', mounts=BuildMount.secret())", "secret mount needs `id`"),
        ("run('x', security='none')", 'must be `sandbox` or `insecure`, not "none"'),
        ("copy('/a', '/b', from_=1)", "must be an Image or the name of one, not 1"),
        ("copy('/a', '/b', from_='A')", 'must be an image\'s name such as "postgres:16", not "A"'),
        ("copy('a', '/b')", "`copy`: no such file or folder: `a`"),
        (
            "add('https://h/a', 'https://h/b', '/c/', checksum='sha256:" + "a" * 64 + "')",
            "`checksum` of `add` needs one URL or repository as the only source",
        ),
        ("add('https://h/a', '/b', checksum='x')", 'must be `sha256:` and 64 digits, or a commit, not "x"'),
    ],
)
def test_settings_problems(tmp_path: Path, call: str, message: str) -> None:
    first = complaints(tmp_path, f"Container('web', image=Image('a').{call})").splitlines()[0]
    assert first.endswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Image.dockerfile('nowhere')", "`context` of this Dockerfile: no such file or folder: `nowhere`"),
        ("Image.dockerfile('.', file='Dockerfil')", "`file` of this Dockerfile: no such file or folder: `Dockerfil`"),
        ("Image.dockerfile('.', args={'A': None})", "`args` of this Dockerfile gives `A` no value"),
        (
            "Image.dockerfile('.', allow=['root'])",
            '`allow[0]` of this Dockerfile must be `security.insecure` or `network.host`, not "root"',
        ),
        ("Image.dockerfile('.', arg={})", "unknown argument `arg` of image"),
    ],
)
def test_dockerfile_problems(tmp_path: Path, text: str, message: str) -> None:
    found = complaints(tmp_path, f"Container('web', image={text})", {"Dockerfile": ""})
    assert found.splitlines()[0] == f"error: {message}"


@pytest.mark.parametrize(
    ("call", "step"),
    [
        (".run('make all')",
         {"instruction": "run", "text": "RUN make all", "argv": ["/bin/sh", "-c", "make all"], "network": "default"}),
        (".run(['make', 'all'], cache=['/c', '/d'], network='none')",
         {"instruction": "run",
          "text": 'RUN --mount=type=cache,target=/c --mount=type=cache,target=/d --network=none ["make", "all"]',
          "argv": ["make", "all"], "network": "none", "cache": ["/c", "/d"]}),
        (".copy('a.txt', '/srv/')",
         {"instruction": "copy", "text": "COPY a.txt /srv/", "sources": ["a.txt"], "context": "", "target": "/srv/"}),
        (".copy('*.txt', 'src', 'dst/', exclude='*.pyc', chown=33, mode='644')",
         {"instruction": "copy", "text": "COPY --chown=33 --chmod=644 *.txt src dst/", "sources": ["*.txt", "src"],
          "context": "", "target": "dst/", "exclude": ["*.pyc"], "chown": "33", "mode": 0o644}),
        (".copy('/etc/x', '/y', from_='debian:12', mode='u=rwX,go=rX', link=True, parents=True)",
         {"instruction": "copy",
          "text": "COPY --from=debian:12 --link --parents --chmod=u=rwX,go=rX /etc/x /y",
          "sources": ["/etc/x"], "target": "/y", "from_image": "debian:12", "link": True, "parents": True,
          "chmod": "u=rwX,go=rX"}),
        (".add('a.txt', 'https://h/a.tgz', 'https://h/r.git#v1', 'dst/', unpack=False, keep_git_dir=True, chown=1)",
         {"instruction": "add",
          "text": "ADD --keep-git-dir --unpack=false --chown=1 a.txt https://h/a.tgz https://h/r.git#v1 dst/",
          "sources": ["a.txt"], "target": "dst/", "context": "", "urls": ["https://h/a.tgz"],
          "git": ["https://h/r.git#v1"], "keep_git_dir": True, "unpack": False, "chown": "1"}),
        (".add('https://h/a', '/a', checksum='sha256:" + "a" * 64 + "')",
         {"instruction": "add", "text": f"ADD --checksum=sha256:{'a' * 64} https://h/a /a", "sources": [],
          "target": "/a", "urls": ["https://h/a"], "checksum": "sha256:" + "a" * 64}),
        (".workdir('app')", {"instruction": "workdir", "text": "WORKDIR app", "target": "app"}),
        (".env(A=1, B='x y')",
         {"instruction": "env", "text": 'ENV A=1 B="x y"', "values": {"A": "1", "B": "x y"}}),
        (".env({'a.b': True}, C='c')",
         {"instruction": "env", "text": "ENV a.b=true C=c", "values": {"a.b": "true", "C": "c"}}),
        (".label({'org.x': 'y'})", {"instruction": "label", "text": "LABEL org.x=y", "values": {"org.x": "y"}}),
        (".volume('/data', '/log/')",
         {"instruction": "volume", "text": 'VOLUME ["/data", "/log"]', "targets": ["/data", "/log"]}),
        (".healthcheck('true || false')",
         {"instruction": "healthcheck", "text": "HEALTHCHECK CMD true || false",
          "healthcheck": {"Test": ["CMD-SHELL", "true || false"]}}),
        (".healthcheck(HealthCheck(['check'], interval=5, retries=2, start_period='1m'))",
         {"instruction": "healthcheck", "text": 'HEALTHCHECK CMD ["check"]',
          "healthcheck": {"Test": ["CMD", "check"], "Interval": 5 * 10**9, "Timeout": 30 * 10**9,
                          "StartPeriod": 60 * 10**9, "StartInterval": 5 * 10**9, "Retries": 2}}),
        (".healthcheck(None)",
         {"instruction": "healthcheck", "text": "HEALTHCHECK NONE", "healthcheck": {"Test": ["NONE"]}}),
        (".stop_signal('quit')", {"instruction": "stopsignal", "text": "STOPSIGNAL SIGQUIT", "value": "SIGQUIT"}),
        (".shell('/bin/bash', '-c')",
         {"instruction": "shell", "text": 'SHELL ["/bin/bash", "-c"]', "argv": ["/bin/bash", "-c"]}),
        (".on_build('COPY . /app')",
         {"instruction": "onbuild", "text": "ONBUILD COPY . /app", "value": "COPY . /app"}),
        (".user(1000)", {"instruction": "user", "text": "USER 1000", "value": "1000"}),
        (".expose(80, '53/udp', '90-91')",
         {"instruction": "expose", "text": "EXPOSE 80/tcp 53/udp 90-91/tcp",
          "ports": ["80/tcp", "53/udp", "90-91/tcp"]}),
        (".entrypoint(['a', 'b\"c'])",
         {"instruction": "entrypoint", "text": 'ENTRYPOINT ["a", "b\\"c"]', "argv": ["a", 'b"c']}),
        (".cmd('serve')", {"instruction": "cmd", "text": "CMD serve", "argv": ["/bin/sh", "-c", "serve"]}),
        (".cmd([])", {"instruction": "cmd", "text": "CMD []", "argv": []}),
        (".file('/etc/x', 'text', mode=0o600)",
         {"instruction": "file", "text": "FILE /etc/x", "target": "/etc/x", "content": "dGV4dA==", "mode": 0o600}),
        (".file('/etc/x', template('t.j2', n=2), chown='root')",
         {"instruction": "file", "text": "FILE /etc/x", "target": "/etc/x", "content": "Mg==", "mode": 0o644,
          "chown": "root"}),
    ],
)  # fmt: skip
def test_steps(tmp_path: Path, call: str, step: dict[str, Any]) -> None:
    files: dict[str, str | bytes] = {"a.txt": "", "src/b.py": "", "t.j2": "{{ n }}"}
    expected = {**step, "line": "stack.py:2"}
    if "context" in expected:
        expected["context"] = str(tmp_path)
    assert source(tmp_path, f"Image('x'){call}", files)["steps"] == [expected]


def test_each_method_returns_a_new_image(tmp_path: Path) -> None:
    text = "base = Image('x').run('a')\nContainer('one', image=base)\nContainer('two', image=base.run('b'))"
    found = resources(tmp_path, text)
    steps = {name: [s["text"] for s in found[name].fields["source"]["steps"]] for name in ("image.one", "image.two")}
    assert steps == {"image.one": ["RUN a"], "image.two": ["RUN a", "RUN b"]}


def test_equal_recipes_are_one_resource_named_by_its_first_user(tmp_path: Path) -> None:
    text = "Container('a', image='x')\nContainer('b', image=Image('x'))\nJob('c', image=Image('x').run('y'))\n"
    text += "Container('d', image=Image('x').run('y'))"
    found = resources(tmp_path, text)
    assert {address: spec.fields["image"] for address, spec in found.items() if "image" in spec.fields} == {
        "container.a": "image.a", "container.b": "image.a", "job.c": "image.c", "container.d": "image.c",
    }  # fmt: skip


def test_a_tag_is_the_address_and_makes_a_resource_without_users(tmp_path: Path) -> None:
    text = "app = Image('x').run('y').tag('shop/app:1', 'shop/app:latest')\nContainer('web', image=app)\n"
    text += "Image('z').tag('tools')"
    found = resources(tmp_path, text)
    assert {address: spec.fields.get("tags") for address, spec in found.items() if spec.kind == "image"} == {
        "image.shop/app:1": ["shop/app:1", "shop/app:latest"],
        "image.tools": ["tools"],
    }
    assert found["container.web"].fields["image"] == "image.shop/app:1"


def test_what_is_published_is_named_too(tmp_path: Path) -> None:
    text = "app = Image('x').tag('app').publish('here:5000/app:1')\nContainer('web', image=app.run('y'))\n"
    text += "Image('x').publish('here:5000/app:2')"
    found = resources(tmp_path, text)
    names = ["app", "here:5000/app:1", "here:5000/app:2"]
    assert [found["image.app"].fields[key] for key in ("tags", "publish")] == [names, names[1:]]
    assert "publish" not in found["image.web"].fields  # another image: it has one more step


def test_a_tag_of_the_stack_can_be_built_upon_by_name(tmp_path: Path) -> None:
    text = "Image('x').run('a').tag('base')\nContainer('one', image='base')\n"
    text += "Container('two', image=Image('base:latest').run('b'))"
    found = resources(tmp_path, text)
    assert found["container.one"].fields["image"] == "image.base"
    two = found["image.two"].fields["source"]
    base = {"kind": "image", "reference": "x", "context": str(tmp_path)}
    assert (two["base"], [s["text"] for s in two["steps"]]) == (base, ["RUN a", "RUN b"])


def test_an_image_of_another_platform(tmp_path: Path) -> None:
    text = "Container('a', image=Image('x', platform='arm64'))\nContainer('b', image=Image('x'))\n"
    text += "Container('c', image=Image('x', platform='Linux/ARM/v7'))"
    found = resources(tmp_path, text)
    platforms = [found[f"image.{name}"].fields["source"]["base"].get("platform") for name in "abc"]
    assert platforms == ["linux/arm64", None, "linux/arm/v7"]


def test_names_of_images_never_meet(tmp_path: Path) -> None:
    found = resources(tmp_path, "Image('x').tag('web')\nContainer('web', image='y')")
    assert found["container.web"].fields["image"] == "image.web-2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Image('x').tag('a')\nImage('y').tag('a')", "two different images are tagged `a`"),
        ("Image('a').run('x').tag('a')", "image `a` stands on itself"),
        (
            "Image('x', platform='windows/amd64').tag('a')",
            '`platform` of this image must be a platform such as "linux/arm64", not "windows/amd64"',
        ),
        (
            "Image('x', platform='a b').tag('a')",
            '`platform` of this image must be a platform such as "linux/arm64", not "a b"',
        ),
        (
            "Image('x').run('y').tag('z')\nImage('z', platform='arm64').run('q').tag('w')",
            "image `z` is of this stack, and has the platform of its own base",
        ),
        ("Image('x').copy('a')", "`copy` needs a source and a destination"),
        ("Image('x').copy('../a', '/x').tag('t')", "`copy`: `../a` leads out of FOLDER"),
        ("Image('x').copy('*.none', '/x').tag('t')", "`copy`: no such file or folder: `*.none`"),
        ("Image('x').copy('stack.py', 'a', 'b')", '`copy` of several sources needs a folder to copy to, not "b"'),
        ("Image('x').env()", "`env` sets nothing"),
        ("Image('x').env(A=None)", "`A` of `env` must be a string, a number, True or False, not None"),
        ("Image('x').expose(0)", '`expose` must be a port such as 80 or "53/udp", not 0'),
        ("Image('x').run()", "`run` needs `command`"),
        ("Image('x').run('')", '`command` of `run` must be a string that is not empty, not ""'),
        ("Image('x').file('etc', 'x')", '`path` of `file` must be an absolute path, not "etc"'),
        ("Image('x').tag('A')", '`tag` must be an image\'s name such as "postgres:16", not "A"'),
        ("Image.host()", "this host image names no program"),
        ("Image.archive('none.tar').tag('t')", "no such file or folder: `none.tar`"),
        ("Image()", "image needs `ref`"),
        ("Image.scratch('x')", "image takes no arguments without a name, and got more"),
    ],
)
def test_refusals(tmp_path: Path, text: str, message: str) -> None:
    shown = complaints(tmp_path, text).replace(str(tmp_path), "FOLDER")
    assert [line.removeprefix("error: ") for line in shown.splitlines() if line.startswith("error")] == [message]
