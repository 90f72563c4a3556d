"""Image references: the grammar of the distribution project (github.com/distribution/reference, reference.go).

A reference is kept in its familiar form: `debian` is `debian:latest`, and so is `docker.io/library/debian`. The form
says nothing of where an image comes from; a name in the local store needs no registry to exist.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from stackpy_runtime.errors import InvalidConfig

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_REGISTRY = "index.docker.io"
_OFFICIAL = "library/"
# Of registry and repository together, as the distribution project has it.
_NAME_LENGTH = 255

_PORT = r"(?::[0-9]+)?"
_LABEL = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)"
_REGISTRY = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\]){_PORT}"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
# Other algorithms are in the grammar; this engine stores nothing under them.
_DIGEST = r"sha256:[0-9a-f]{64}"


class Reference(NamedTuple):
    """A parsed reference; `str` gives its familiar form."""

    registry: str  # docker.io where none was given
    repository: str  # library/debian
    tag: str  # "" where there is a digest alone
    digest: str  # sha256:…, or ""

    def __str__(self) -> str:
        return self.name + self._rest

    @property
    def name(self) -> str:
        """The familiar name: `debian`, `me/app`, `localhost:5000/a/b`."""
        short = self.repository
        if self.registry == DEFAULT_REGISTRY and short.count("/") == 1:
            short = short.removeprefix(_OFFICIAL)
        # Only where it is read back as the same: the first part of docker.io/a.b/c would be taken for a registry.
        same = _split(short) == (self.registry, self.repository)
        return short if same else f"{self.registry}/{self.repository}"

    @property
    def canonical(self) -> str:
        """With registry and `library/` written out."""
        return f"{self.registry}/{self.repository}{self._rest}"

    @property
    def _rest(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """The reference that `text` writes; raises InvalidConfig, saying which part is wrong."""
    rest, at, digest = text.partition("@")
    if at and not re.fullmatch(_DIGEST, digest):
        raise _invalid(
            text, f"`{digest}` is not a digest", "a digest is sha256: and 64 hexadecimal digits in lower case"
        )
    name, tag = rest, ""
    if ":" in rest.rpartition("/")[2]:
        name, _, tag = rest.rpartition(":")
        if not re.fullmatch(_TAG, tag):
            raise _invalid(text, f"`{tag}` is not a tag", "a tag is at most 128 letters, digits, `_`, `.` and `-`")
    if re.fullmatch("[0-9a-f]{64}", name):
        raise _invalid(text, "64 hexadecimal digits are an image ID, not a name", "give the image a tag")
    registry, repository = _split(name)
    if not re.fullmatch(_REGISTRY, registry):
        raise _invalid(text, f"`{registry}` is not a registry", "a registry is HOST or HOST:PORT")
    if not re.fullmatch(_REPOSITORY, repository):
        hint = "parts of a name are lower-case letters and digits, with single `.`, `_`, `__` or `-` between"
        lower = repository.lower()
        if lower != repository and re.fullmatch(_REPOSITORY, lower):
            hint = f"names are lower case: `{text.replace(name, name.lower(), 1)}`"
        raise _invalid(text, f"`{name}` is not a name" if name else "the name is missing", hint)
    if registry == DEFAULT_REGISTRY and repository == f"{_OFFICIAL}sha256":
        raise _invalid(text, "the name `sha256` belongs to digests", "choose another name")
    if len(registry) + 1 + len(repository) > _NAME_LENGTH:
        raise _invalid(text[:40] + "…", f"the name is longer than {_NAME_LENGTH} characters", "choose a shorter one")
    return Reference(registry, repository, tag or ("" if digest else DEFAULT_TAG), digest)


def normalise(text: str) -> str:
    """The familiar form, in which the store keeps references: `debian` → `debian:latest`; raises InvalidConfig."""
    return str(parse(text))


def _split(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    # Without a dot, a port or a capital the first part is a user: `localhost` alone is exempt.
    if not slash or not (first == "localhost" or "." in first or ":" in first or first != first.lower()):
        registry, repository = DEFAULT_REGISTRY, name
    else:
        registry, repository = (DEFAULT_REGISTRY if first == _LEGACY_REGISTRY else first), rest
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = _OFFICIAL + repository
    return registry, repository


def _invalid(text: str, why: str, hint: str) -> InvalidConfig:
    return InvalidConfig(f"invalid image reference `{text}`: {why}", hint=hint)
