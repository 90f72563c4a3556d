"""What is reconciled: a repository, a revision of it and a folder in it; checked before git sees any of it. Pure.

git reads an argument that begins with `-` as an option, and `ext::COMMAND` as a program to run.
"""

from __future__ import annotations

import re

from stackpy.errors import UsageError
from stackpy.records import NamedTuple

DEFAULT_REF = "HEAD"
_HELPER = re.compile(r"[A-Za-z0-9+.-]+::")  # git-remote-HELPER; gitremote-helpers(7)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCHEMES = ("https", "http", "ssh", "git", "file")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
# git-check-ref-format(1), and `:` which would name a place to store it
_REF = re.compile(r"(?!.*(?:\.\.|@\{|//|\.lock(?:/|$)|/\.|\.$|/$))[^\x00-\x20\x7f~^:?*\[\\]+")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s'\"]+@")


class Source(NamedTuple):
    """A folder of a revision of a repository.

    url: as git takes it; ref: a branch, a tag or a whole commit ID; path: of the stack's folder, "" for the top
    """

    url: str
    ref: str = DEFAULT_REF
    path: str = ""

    @property
    def name(self) -> str:
        """What the stack is called when it does not say: the last part of the path, else the repository's name."""
        last = self.path.rstrip("/").rpartition("/")[2] or re.split(r"[/:]", self.url.rstrip("/"))[-1]
        return last.removesuffix(".git")

    @property
    def shown(self) -> str:
        """The URL without user name and password."""
        return without_credentials(self.url)


def source(url: str, ref: str = DEFAULT_REF, path: str = "") -> Source:
    """A checked source. Raises UsageError for what git must not be given."""
    shown = without_credentials(url)
    if not url or url.startswith("-") or _CONTROL.search(url):
        raise UsageError(f"`{shown}` is not a repository's URL", hint="as in https://example.org/shop.git, or a folder")
    if _HELPER.match(url):
        raise UsageError(
            f"`{shown}`: transport helpers are refused, since they run programs", hint="use https, ssh or a folder"
        )
    scheme = _SCHEME.match(url)
    if scheme and scheme[1].lower() not in _SCHEMES:
        raise UsageError(f"`{shown}`: git does not fetch over `{scheme[1]}`", hint=f"one of {', '.join(_SCHEMES)}")
    host = re.split(r"[/:]", url.partition("://")[2] or url)[0].rpartition("@")[2]
    if host.startswith("-"):
        raise UsageError(f"`{shown}`: a host's name does not begin with `-`")
    if ref.startswith(("-", "+", "/")) or not _REF.fullmatch(ref):
        raise UsageError(f"`{ref}` is not a revision's name", hint="a branch, a tag or a whole commit ID")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise UsageError(f"`--path {path}` leads out of the repository", hint="give a folder relative to its top")
    return Source(url, ref, "/".join(parts))


def without_credentials(text: str) -> str:
    """A text, such as git's messages, without what stands before the @ of its URLs."""
    return _CREDENTIALS.sub("", text)
