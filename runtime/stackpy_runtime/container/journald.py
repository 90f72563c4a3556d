"""Lines of a container's log sent to journald as well, in its native protocol and with Docker's field names.

systemd.io/JOURNAL_NATIVE_PROTOCOL; docs.docker.com, journald logging driver. The local log is kept beside it, as
Docker's dual logging does: `logs` reads that, and what journald could not take is not lost.
"""

from __future__ import annotations

import re
import socket
import struct

from stackpy_runtime.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"
_PRIORITY = {"stdout": "6", "stderr": "3"}  # info and err, as Docker's
_PLACEHOLDER = re.compile(r"\{\{\s*\.?([A-Za-z]*)\s*\}\}")
PLACEHOLDERS = ("ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName")
_SHORT = 12


def check_tag(template: str) -> None:
    """Raises InvalidConfig for a tag with a placeholder that Docker's log tags do not have."""
    for name in _PLACEHOLDER.findall(template):
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{{.{one}}}}}" for one in PLACEHOLDERS)
            raise InvalidConfig(f"unknown placeholder `{{{{.{name}}}}}` in the log's tag", hint=f"there are {known}")
    if "{{" in _PLACEHOLDER.sub("", template):
        raise InvalidConfig(f"the log's tag `{template}` has a placeholder that is not understood")


def tag(template: str, *, identity: str, name: str, image_id: str, image: str) -> str:
    """A log's tag with its placeholders filled in; without one it is the short ID."""
    digits = image_id.removeprefix("sha256:")
    values = {
        "ID": identity[:_SHORT],
        "FullID": identity,
        "Name": name,
        "ImageID": digits[:_SHORT],
        "ImageFullID": image_id,
        "ImageName": image,
        "DaemonName": "stackpy",
    }
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], ""), template) if template else values["ID"]


def field(name: str) -> str:
    """A label's name as a field's: upper case, digits and `_`, no `_` first (systemd.journal-fields(7))."""
    return re.sub(r"[^A-Z0-9_]", "_", name.upper()).lstrip("_")[:64]


def entry(fields: Mapping[str, str], message: bytes) -> bytes:
    """One entry as journald reads it."""
    parts = [
        b"%s\n%s%s\n" % (key.encode(), struct.pack("<Q", len(value.encode())), value.encode())
        if "\n" in value
        else f"{key}={value}\n".encode()
        for key, value in fields.items()
    ]
    return b"".join(parts) + b"MESSAGE\n" + struct.pack("<Q", len(message)) + message + b"\n"


class Journal:
    """Sends what a log takes. Never waits: what journald has no room for is counted, and stays in the local log."""

    def __init__(self, fields: Mapping[str, str], path: str = SOCKET) -> None:
        self.fields, self.path = dict(fields), path
        self.missed = 0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def send(self, lines: bytes) -> None:
        """Sends lines of the log, in its own format."""
        for line in lines.removesuffix(b"\n").split(b"\n"):
            _, stream, kind, text = line.split(b" ", 3)
            fields = {**self.fields, "PRIORITY": _PRIORITY[stream.decode()]}
            if kind == b"P":
                fields["CONTAINER_PARTIAL_MESSAGE"] = "true"
            try:
                self.socket.sendto(entry(fields, text), socket.MSG_DONTWAIT, self.path)
            except OSError:
                self.missed += 1

    def close(self) -> None:
        """Closes the socket."""
        self.socket.close()
