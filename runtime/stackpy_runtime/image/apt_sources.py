"""Which archive a fresh Debian or Ubuntu comes from: the host's own mirror where it is the same distribution. Pure."""

from __future__ import annotations

from typing import NamedTuple

from stackpy_runtime.errors import InvalidConfig


class Distribution(NamedTuple):
    """A distribution's archive: mirror, security mirror, components, keyring and the Debian package that has it."""

    mirror: str
    security: str
    components: str
    keyring: str
    keyring_package: str


DISTRIBUTIONS = {
    "debian": Distribution(
        "http://deb.debian.org/debian",
        "http://deb.debian.org/debian-security",
        "main",
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "debian-archive-keyring",
    ),
    "ubuntu": Distribution(
        "http://archive.ubuntu.com/ubuntu",
        "http://security.ubuntu.com/ubuntu",
        "main restricted universe multiverse",
        "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
        "ubuntu-keyring",
    ),
}

# Without updates and security updates of their own; the first three for as long as they are developed.
_ROLLING = frozenset({"sid", "unstable", "experimental", "rc-buggy"})
_COMPONENTS = frozenset({"main", "contrib", "non-free", "non-free-firmware", "restricted", "universe", "multiverse"})


class Source(NamedTuple):
    """One archive that a host's apt uses."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str


def parse_suite(text: str) -> tuple[str, str]:
    """The distribution and the release of "debian:bookworm"; a plain "bookworm" is Debian's."""
    name, colon, release = text.partition(":")
    if not colon:
        name, release = "debian", name
    if name not in DISTRIBUTIONS:
        raise InvalidConfig(
            f"unknown distribution `{name}` in `{text}`", hint=f"known are {' and '.join(sorted(DISTRIBUTIONS))}"
        )
    if not release or not all(letter.isascii() and (letter.isalnum() or letter in "-_.") for letter in release):
        raise InvalidConfig(f"`{text}` names no release", hint=f"as in `{name}:bookworm`")
    return name, release


def check_packages(names: list[str]) -> None:
    """Raises InvalidConfig for all names at once that apt would take for something else: options, patterns, files."""
    allowed = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+-.:=~_")
    wrong = [name for name in names if not name[:1].isalnum() or not allowed.issuperset(name.lower())]
    if wrong:
        listed = ", ".join(f"`{name}`" for name in wrong)
        raise InvalidConfig(
            f"{listed} cannot be the name of a package", hint="give packages by name, as apt lists them"
        )


def parse_list(text: str) -> list[Source]:
    """The binary archives of a sources.list (sources.list(5), one-line style)."""
    found: list[Source] = []
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        words = line.split()
        if not words or words[0] != "deb":
            continue
        options, rest = "", words[1:]
        if rest and rest[0].startswith("["):
            options, _, behind = line[line.index("[") + 1 :].partition("]")
            rest = behind.split()
        signed = next((word.partition("=")[2] for word in options.split() if word.lower().startswith("signed-by=")), "")
        if len(rest) >= 2:
            found.append(Source(rest[0].rstrip("/"), rest[1], tuple(rest[2:]), signed))
    return found


def parse_deb822(text: str) -> list[Source]:
    """The binary archives of a .sources file (sources.list(5), deb822 style)."""
    found: list[Source] = []
    for stanza in text.replace("\r", "").split("\n\n"):
        fields: dict[str, str] = {}
        last = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t"):
                fields[last] = f"{fields.get(last, '')} {line.strip()}"
                continue
            name, _, value = line.partition(":")
            last = name.strip().lower()
            fields[last] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        components = tuple(fields.get("components", "").split())
        signed = fields.get("signed-by", "")
        found += [
            Source(uri.rstrip("/"), suite, components, signed)
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return found


def mirrors(name: str, sources: list[Source]) -> tuple[str, str]:
    """The mirror and the security mirror that a host of this distribution uses, or else the distribution's own.

    Other people's archives for the distribution are told by their components, keys and addresses.
    """
    distribution = DISTRIBUTIONS[name]
    own = [
        source
        for source in sources
        if "main" in source.components
        and _COMPONENTS.issuperset(source.components)
        and source.signed_by in ("", distribution.keyring)
        and source.uri.partition(":")[0] in ("http", "https", "mirror+http", "mirror+https")
        and source.uri.rpartition("/")[2].startswith(name)
    ]
    safe = [source.uri for source in own if source.suite.endswith(("-security", "/updates"))]
    main = [source.uri for source in own if not source.suite.endswith(("-security", "/updates", "-backports"))]
    return (main or [distribution.mirror])[0], (safe or [distribution.security])[0]


def lines(name: str, release: str, mirror: str, security: str) -> list[str]:
    """The sources.list of a fresh system."""
    components = DISTRIBUTIONS[name].components
    result = [f"deb {mirror} {release} {components}"]
    if release not in _ROLLING:
        result += [
            f"deb {mirror} {release}-updates {components}",
            f"deb {security} {release}-security {components}",
        ]
    return result
