"""Who a container's process is: Dockerfile USER resolved by the image's own /etc/passwd and /etc/group, read as data.

Never through getpwnam: name services would load libraries from the image (CVE-2019-14271).
"""

from __future__ import annotations

from typing import NamedTuple

from stackpy_runtime.errors import InvalidConfig

# One container has 65,536 IDs; a larger number has no place in its user namespace.
LAST_ID = 65535


class Identity(NamedTuple):
    """The IDs of a process inside, its supplementary groups and its home folder."""

    user: int
    group: int
    groups: tuple[int, ...]
    home: str


def _number(text: str, what: str) -> int | None:
    if not text.isascii() or not text.isdigit():
        return None
    if len(text) > 10 or int(text) > LAST_ID:
        raise InvalidConfig(f"{what} {text} is outside 0…{LAST_ID}", hint="a container has 65,536 user and group IDs")
    return int(text)


def _entries(text: str, fields: int) -> list[list[str]]:
    """Lines with at least that many colon-separated fields; a malformed line is nobody's."""
    rows = [line.split(":") for line in text.splitlines() if line and not line.startswith("#")]
    return [row for row in rows if len(row) >= fields]


def _plain(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= LAST_ID else None


def resolve(spec: str, passwd: str, group: str, extra_groups: tuple[str, ...] = ()) -> Identity:
    """The identity that `spec` (`user`, `uid`, `user:group`, `uid:gid`, or "" for root) means in an image.

    passwd, group: text of the image's files. Raises InvalidConfig for a name that is not in them.
    Supplementary groups are those of the named user, unless `spec` names a group, as Docker does.
    """
    name, _, group_name = spec.partition(":")
    users, groups = _entries(passwd, 4), _entries(group, 3)
    wanted = _number(name or "0", "user ID")
    if wanted is not None:
        row = next((row for row in users if _plain(row[2]) == wanted), None)
    else:
        row = next((row for row in users if row[0] == name), None)
        if row is None:
            raise InvalidConfig(f"no user `{name}` in the image's /etc/passwd", hint="give a number, or add the user")
        wanted = _plain(row[2])
        if wanted is None:
            raise InvalidConfig(f"user `{name}` has no usable ID in the image's /etc/passwd")
    primary = (_plain(row[3]) if row else 0) or 0
    home = row[5] if row and len(row) > 5 and row[5] else "/"
    supplementary: list[int] = []
    if group_name:
        primary = _group(group_name, groups)
    elif row:
        supplementary = [
            number
            for entry in groups
            if len(entry) > 3 and row[0] in entry[3].split(",") and (number := _plain(entry[2])) is not None
        ]
    supplementary += [_group(extra, groups) for extra in extra_groups]
    # The primary one too: a set-group-id program would leave it, and what is denied to it be allowed (CVE-2022-36109).
    return Identity(wanted, primary, tuple(dict.fromkeys((primary, *supplementary))), home)


def _group(name: str, groups: list[list[str]]) -> int:
    number = _number(name, "group ID")
    if number is not None:
        return number
    for entry in groups:
        if entry[0] == name and (found := _plain(entry[2])) is not None:
            return found
    raise InvalidConfig(f"no group `{name}` in the image's /etc/group", hint="give a number, or add the group")
