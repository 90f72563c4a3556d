"""The keys that leave a container's terminal without ending what runs there, as Docker's --detach-keys. Pure."""

from __future__ import annotations

from stackpy_runtime.errors import InvalidConfig

DEFAULT = "ctrl-p,ctrl-q"
# What stands behind `ctrl-`, by the byte that a terminal sends for it (moby/term, ascii.go).
_CONTROLS = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def sequence(text: str) -> bytes:
    """The bytes of keys written as `ctrl-p,ctrl-q` or `a,b`; none for "". Raises InvalidConfig for another form."""
    keys = bytearray()
    for key in text.split(",") if text else []:
        lower = key.lower()
        if len(key) == 1 and key.isascii():
            keys += key.encode()
        elif lower == "del":
            keys.append(127)
        elif lower.startswith("ctrl-") and len(key) == 6 and lower[5] in _CONTROLS:
            keys.append(_CONTROLS.index(lower[5]))
        else:
            raise InvalidConfig(
                f"`{key}` is no key to detach with", hint="a character, or ctrl- and one of a to z, @, [, \\, ], ^, _"
            )
    return bytes(keys)


class Keys:
    """Watches typed bytes for a sequence; without one everything passes.

    A beginning of the sequence is held back until the next key tells whether it goes on.
    """

    def __init__(self, wanted: bytes) -> None:
        self.wanted = wanted
        self.held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What of the bytes typed so far is to be passed on, and whether the sequence is complete."""
        if not self.wanted:
            return data, False
        data = self.held + data
        found = data.find(self.wanted)
        if found >= 0:
            self.held = b""
            return data[:found], True
        keep = next(size for size in range(len(self.wanted) - 1, -1, -1) if data.endswith(self.wanted[:size]))
        self.held = data[len(data) - keep :]
        return data[: len(data) - keep], False
