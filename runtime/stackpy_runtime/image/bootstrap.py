"""A base image that is a fresh Debian or Ubuntu, made by mmdebstrap from packages whose signatures apt has checked."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections import deque

from stackpy_runtime.errors import InvalidConfig, ProcessFailed, Unsupported
from stackpy_runtime.image import apt_sources, authorities
from stackpy_runtime.image.apt_sources import DISTRIBUTIONS, Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# What Debian's own container images have: useradd and mount, and not documentation tools. `apt` lacks useradd.
_VARIANT = "minbase"

# mmdebstrap's temporary files and what belongs to one machine; folders are emptied.
_LEFTOVERS = (
    "dev run tmp var/tmp var/lib/apt/lists var/cache/apt/archives var/log/apt var/log/bootstrap.log var/log/dpkg.log"
    " var/log/alternatives.log var/log/apt/history.log var/cache/ldconfig var/lib/dbus/machine-id"
    " var/lib/systemd/random-seed var/lib/dpkg/status-old var/lib/dpkg/diversions-old var/lib/dpkg/available-old"
    " var/lib/dpkg/lock var/lib/dpkg/lock-frontend var/cache/debconf/templates.dat-old"
    " var/cache/debconf/config.dat-old etc/passwd- etc/group- etc/shadow- etc/gshadow- etc/.pwd.lock"
    " etc/resolv.conf etc/hostname etc/machine-id etc/apt/apt.conf.d/99mmdebstrap etc/dpkg/dpkg.cfg.d/99mmdebstrap"
).split()

# Services are not started while their packages are installed (invoke-rc.d asks), downloads are not kept in layers,
# translations are not fetched, and dpkg does not sync each file: a layer is whole or it is not there.
_FILES = {
    "usr/sbin/policy-rc.d": ("#!/bin/sh\nexit 101\n", 0o755),
    "etc/apt/apt.conf.d/90stackpy": (
        'APT::Keep-Downloaded-Packages "false";\nAcquire::Languages "none";\n',
        0o644,
    ),
    "etc/dpkg/dpkg.cfg.d/stackpy": ("force-unsafe-io\n", 0o644),
    # Places for what the engine mounts.
    "etc/resolv.conf": ("", 0o644),
    "etc/hostname": ("", 0o644),
    "etc/hosts": ("", 0o644),
    # Empty: "not yet initialised", machine-id(5).
    "etc/machine-id": ("", 0o444),
}

_TAIL_LINES = 30
_DULL = (
    "automatically chosen",
    "chroot architecture",
    "finding correct",
    "running --setup-hook",
    "running --extract-hook",
    "W: Download is performed unsandboxed",
)


def identity(suite: str, packages: list[str]) -> dict[str, str]:
    """What a bootstrap base is made of, by name. The archive's state is not a part of it: it is made once, and kept."""
    name, release = apt_sources.parse_suite(suite)
    apt_sources.check_packages(packages)
    return {
        "suite": f"{name}:{release}",
        "packages": " ".join(sorted(set(packages))),
        "variant": _VARIANT,
        "architecture": os.uname().machine,
    }


def bootstrap(suite: str, packages: list[str], folder: str, progress: Callable[[str], None]) -> None:
    """Makes a fresh system in an empty folder.

    suite: "debian:bookworm", or a plain release of Debian
    progress: takes lines of text, each with its newline
    Raises Unsupported when mmdebstrap or the distribution's keyring is missing, ProcessFailed when it fails.
    """
    name, release = apt_sources.parse_suite(suite)
    apt_sources.check_packages(packages)
    distribution = DISTRIBUTIONS[name]
    import shutil

    program = shutil.which("mmdebstrap", path="/usr/local/bin:/usr/bin:/bin")
    if program is None:
        raise Unsupported("`mmdebstrap` is not installed on this host", hint="apt-get install mmdebstrap")
    if not os.path.exists(distribution.keyring):
        raise Unsupported(
            f"the keys of {name} are not installed on this host", hint=f"apt-get install {distribution.keyring_package}"
        )
    mirror, security = apt_sources.mirrors(name, host_sources() if host_distribution() == name else [])
    import tempfile

    # Beside the folder: in the staging folder, which goes as a whole when we are killed.
    with tempfile.TemporaryDirectory(prefix="trusted-", dir=os.path.dirname(folder)) as trusted:
        command = _command(program, name, release, packages, folder, (mirror, security), trusted)
        _run(command, suite, packages, progress)
    _tidy(folder)


def _command(
    program: str, name: str, release: str, packages: list[str], folder: str, mirrors: tuple[str, str], trusted: str
) -> list[str]:
    """mmdebstrap's command line; `trusted` is an empty folder for what its hook copies."""
    hooks: list[str] = []
    for number, certificate in enumerate(authorities.added(), 1):
        with open(f"{trusted}/stackpy-host-{number}.crt", "w", encoding="ascii") as file:
            file.write(certificate)
        # Before the packages, so that ca-certificates finds them when it is installed, then or later.
        place = '"$1/usr/local/share/ca-certificates"'
        hooks[:1] = [f"--setup-hook=mkdir -p {place} && cp '{trusted}'/* {place}"]
    if packages:
        # mmdebstrap would find out a minute later.
        known = "apt-get --simulate --quiet=2 install"
        check = f'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" {known} {" ".join(map(shlex.quote, packages))} >/dev/null'
        hooks.append(f"--extract-hook={check}")
    return [
        program,
        f"--variant={_VARIANT}",
        "--format=directory",
        f"--keyring={DISTRIBUTIONS[name].keyring}",
        *hooks,
        # For this run, and removed afterwards: what stays in the image is in _FILES.
        "--dpkgopt=force-unsafe-io",
        '--aptopt=Acquire::Languages "none"',
        *([f"--include={','.join(sorted(set(packages)))}"] if packages else []),
        release,
        folder,
        *apt_sources.lines(name, release, *mirrors),
    ]


def _run(command: list[str], suite: str, packages: list[str], progress: Callable[[str], None]) -> None:
    import subprocess

    # With us it dies, whatever it has started, and its mounts with its namespace: nothing goes on in a staging folder
    # that garbage collection is about to remove.
    guard = ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    with subprocess.Popen(
        [*guard, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_environment(),
        cwd="/",
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                tail.append(line.rstrip())
                if shown := _shown(line):
                    progress(shown)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        output = "\n".join(tail)
        message, hint = _explain(output, suite, packages)
        raise ProcessFailed(message, exit_code=process.returncode, output=output, hint=hint)


def _shown(line: str) -> str:
    """A line of mmdebstrap as progress; "" for those that tell people nothing."""
    text = line.rstrip("\n")
    for prefix in ("I: ", "done"):
        text = text.removeprefix(prefix)
    return "" if not text.strip() or text.startswith(_DULL) else f"{text}\n"


def _explain(output: str, suite: str, packages: list[str]) -> tuple[str, str]:
    """The message and the hint for what mmdebstrap said last."""
    for package in packages:
        if f"Unable to locate package {package}" in output or f"Package '{package}' has no" in output:
            return f"there is no package `{package}` in {suite}", "check its name and that it is in this release"
    errors = [line.removeprefix("E: ") for line in output.splitlines() if line.startswith("E: ")]
    reason = errors[0] if errors else "mmdebstrap failed"
    if "does not have a Release file" in output or "404" in output:
        return f"{suite} cannot be fetched: {reason}", "is it the name of a release?"
    return f"{suite} cannot be made: {reason}", "the package servers must be reachable; try again, or see its output"


def _environment() -> dict[str, str]:
    """What mmdebstrap may know of the host: its proxies, from the environment or from apt's configuration."""
    result = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    result["DEBIAN_FRONTEND"] = "noninteractive"
    names = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "TMPDIR")
    result.update({name: os.environ[name] for name in names if os.environ.get(name)})
    for scheme in ("http", "https"):
        if f"{scheme}_proxy" not in result and (proxy := _apt_option(f"Acquire::{scheme}::Proxy")):
            result[f"{scheme}_proxy"] = proxy
    return result


def _apt_option(name: str) -> str:
    import subprocess

    try:
        done = subprocess.run(["apt-config", "shell", "value", name], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    value = done.stdout.strip().removeprefix("value=").strip("'\"")
    return "" if value == "DIRECT" else value


def host_distribution() -> str:
    """The ID of /etc/os-release."""
    import platform

    try:
        return platform.freedesktop_os_release().get("ID", "")
    except OSError:
        return ""


def host_sources() -> list[Source]:
    """The archives that this host's apt uses."""
    found: list[Source] = []
    folder = "/etc/apt/sources.list.d"
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for path in ["/etc/apt/sources.list", *(f"{folder}/{name}" for name in names)]:
        parse = apt_sources.parse_deb822 if path.endswith(".sources") else apt_sources.parse_list
        if not path.endswith((".list", ".sources")):
            continue
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            found += parse(file.read())
    return found


# --- afterwards -----------------------------------------------------------------------------------------------------


def _tidy(folder: str) -> None:
    """Removes what belongs to the host or to the making, and adds what a container needs."""
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for path in _LEFTOVERS:
            parent = _below(root, os.path.dirname(path))
            if parent is None:
                continue
            try:
                _clear(parent, os.path.basename(path))
            finally:
                os.close(parent)
        for path, (content, mode) in _FILES.items():
            parent = _below(root, os.path.dirname(path))
            if parent is None:
                raise InvalidConfig(f"the fresh system has no `/{os.path.dirname(path)}`")
            try:
                _write(parent, os.path.basename(path), content, mode)
            finally:
                os.close(parent)
        os.fchmod(root, 0o755)
    finally:
        os.close(root)


def _below(root: int, path: str) -> int | None:
    """A descriptor of a folder of the new system, no link followed; None when it is not there."""
    current = os.dup(root)
    for part in [part for part in path.split("/") if part]:
        try:
            following = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
        except OSError:
            return None
        finally:
            os.close(current)
        current = following
    return current


def _clear(parent: int, name: str) -> None:
    """Empties a folder, but for what packages expect there, or removes a file or a link."""
    from stackpy_runtime.store import trees

    try:
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except NotADirectoryError:
        os.unlink(name, dir_fd=parent)
        return
    except OSError as error:
        if error.errno == 40:  # ELOOP: a link
            os.unlink(name, dir_fd=parent)
        return
    try:
        for inside in os.listdir(folder):
            if inside not in ("partial", "lock"):
                trees.remove_beneath(folder, inside)
    finally:
        os.close(folder)


def _write(parent: int, name: str, content: str, mode: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)
    descriptor = os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent
    )
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(content)
        os.fchmod(descriptor, mode)
