"""The context of `stackpy build`: a folder, a git repository, an archive, or a Dockerfile alone; from anywhere."""

from __future__ import annotations

import os
from contextlib import contextmanager

from stackpy.errors import StackpyError, UsageError
from stackpy.patterns import pattern
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_GIT = pattern(
    r"(?:git|ssh)://.*|git@[^:]+:.*|github\.com/.*|https?://[^?#]*\.git(?:[?#].*)?", dot_all=True, ignore_case=True
)
_WEB = pattern(r"https?://", ignore_case=True)
_TAR_MAGIC = 257  # where "ustar" stands in a header
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_MOST = 16 << 20  # bytes of a Dockerfile that comes alone


class BuildContext(NamedTuple):
    """What is built.

    folder: absolute
    path: of the Dockerfile, absolute; its name for messages where `content` holds the text
    content: the Dockerfile's text, or None
    """

    folder: str
    path: str
    content: str | None = None


def is_remote(place: str) -> bool:
    """Whether a context comes from elsewhere: a URL, a repository, standard input."""
    return place == "-" or bool(_WEB.match(place) or _GIT.fullmatch(place))


@contextmanager
def opened(place: str, file: str, cache: str) -> Iterator[BuildContext]:
    """A context for as long as the build lasts.

    place: a folder, a URL of a repository, an archive or a Dockerfile, or "-" for either of the latter on stdin
    file: the Dockerfile that was named, or "": `Dockerfile` in the context; "-" is on stdin
    cache: folder for checkouts of repositories

    Raises StackpyError for what cannot be had, UsageError for what makes no sense.
    """
    if place == "-" and file == "-":
        raise UsageError("standard input cannot be both the context and the Dockerfile", hint="give one of them")
    if _GIT.fullmatch(place):
        yield _in(_checkout(place, cache), file)
    elif place == "-" or _WEB.match(place):
        with _spooled(place) as name:
            if _is_archive(name):
                with _unpacked(name) as folder:
                    yield _in(folder, file)
            else:
                with _empty() as folder:
                    yield _alone(name, folder, file)
    else:
        yield _local(place, file)


def _local(place: str, file: str) -> BuildContext:
    folder = os.path.abspath(place)
    if not os.path.isdir(folder):
        what = "is no folder" if os.path.lexists(folder) else "is not there"
        raise StackpyError(f"the context `{place}` {what}", hint="give a folder, a URL, or - for standard input")
    if file == "-":
        return BuildContext(folder, "-", _standard_input())
    # Relative to where the user is, as for docker; to the context where it is only there.
    path = os.path.abspath(file) if file else f"{folder}/Dockerfile"
    inside = os.path.join(folder, file)
    return BuildContext(folder, inside if file and not os.path.lexists(path) and os.path.lexists(inside) else path)


def _in(folder: str, file: str) -> BuildContext:
    """A context that came from elsewhere: its Dockerfile is in it."""
    if file == "-":
        return BuildContext(folder, "-", _standard_input())
    path = os.path.normpath(os.path.join(folder, file.lstrip("/") or "Dockerfile"))
    if not path.startswith(f"{folder}/"):
        raise UsageError(f"`{file}` leads out of the context")
    return BuildContext(folder, path)


def _alone(name: str, folder: str, file: str) -> BuildContext:
    if file:
        raise UsageError(f"`-f {file}`: what was given is a Dockerfile itself, no archive", hint="leave out -f")
    with open(name, "rb") as text:
        # Not `Dockerfile`: another may be where the user is, and its lines would be shown.
        return BuildContext(folder, "-", _text(text.read(_MOST + 1)))


def _standard_input() -> str:
    import sys

    return _text(sys.stdin.buffer.read(_MOST + 1))


def _text(data: bytes) -> str:
    if len(data) > _MOST:
        raise StackpyError(f"the Dockerfile is larger than {_MOST >> 20} MiB")
    return data.decode("utf-8", "surrogateescape")


# --- from elsewhere ---------------------------------------------------------------------------------------------------


def _checkout(place: str, cache: str) -> str:
    """The folder of a repository's revision, by `url#ref:subfolder`."""
    from stackpy.reconciling.git import Repository
    from stackpy.reconciling.source import DEFAULT_REF, source

    url, ref, below = _revision(place)
    url = f"https://{url}" if url.startswith("github.com/") else url
    repository = Repository(cache, source(url, ref or DEFAULT_REF, below))
    folder = repository.checkout(repository.fetch())
    inside = os.path.realpath(os.path.join(folder, repository.source.path))
    if not os.path.isdir(inside) or not f"{inside}/".startswith(f"{os.path.realpath(folder)}/"):
        raise StackpyError(f"there is no folder `{below}` in {repository.source.shown}")
    return inside


def _revision(place: str) -> tuple[str, str, str]:
    """URL, reference and folder of a repository's address, by its fragment or its query; raises UsageError.

    Of the query's options what is done anyway is taken: submodules come along, and a context has no .git.
    """
    from urllib.parse import parse_qsl

    before, _, fragment = place.partition("#")
    url, _, query = before.partition("?")
    ref, _, below = fragment.partition(":")
    refs, folders = [ref] if ref else [], [below] if below else []
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in ("ref", "commit", "checksum"):
            refs.append(value)
        elif name in ("tag", "branch"):
            beginning = "refs/tags/" if name == "tag" else "refs/heads/"
            refs.append(beginning + value.removeprefix(beginning))
        elif name == "subdir":
            folders.append(value)
        elif (name, value) not in (("submodules", "true"), ("keep-git-dir", "false")) and name != "fetch-by-commit":
            hint = "expected ref, tag, branch, commit or subdir"
            raise UsageError(f"`{place}`: a context's address cannot say `{name}={value}`", hint=hint)
    if len(set(refs)) > 1 or len(set(folders)) > 1:
        raise UsageError(f"`{place}` contradicts itself", hint="say its reference and its folder once")
    return url, refs[0] if refs else "", folders[0] if folders else ""


@contextmanager
def _spooled(place: str) -> Iterator[str]:
    """A file with what a URL gives, or what is on standard input."""
    if place != "-":
        from stackpy.engines.downloading import downloaded

        with downloaded(place) as name:
            yield name
        return
    import shutil
    import sys
    import tempfile

    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal", hint="as in `stackpy build - < Dockerfile`")
    with tempfile.NamedTemporaryFile(prefix="stackpy-") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        file.flush()
        yield file.name


def _is_archive(name: str) -> bool:
    with open(name, "rb") as file:
        head = file.read(_TAR_MAGIC + 5)
    return head.startswith(_COMPRESSED) or head[_TAR_MAGIC:] == b"ustar"


@contextmanager
def _unpacked(name: str) -> Iterator[str]:
    """A folder with what is in an archive. tar(1) keeps every path below it and puts links in last."""
    import subprocess

    with _empty() as folder:
        done = subprocess.run(
            ["tar", "--extract", "--no-same-owner", "--file", name, "--directory", folder],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise StackpyError(f"the context cannot be unpacked: {done.stderr.strip().splitlines()[-1]}")
        yield folder


@contextmanager
def _empty() -> Iterator[str]:
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="stackpy-context-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
