"""Certificate authorities that this host's administrator trusts beyond those of its distribution.

Behind a proxy that inspects TLS nothing can be fetched without its authority: a fresh system on such a host gets it
too, where update-ca-certificates(8) looks for it.
"""

from __future__ import annotations

import os

_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_PACKAGED = "/usr/share/ca-certificates"
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def certificates(text: str) -> list[str]:
    """The certificates of a PEM file in a normal form: lines of 64 letters between their markers. Pure."""
    found = []
    for part in text.split(_BEGIN)[1:]:
        body, marker, _ = part.partition(_END)
        letters = "".join(body.split())
        if marker and letters:
            lines = [letters[start : start + 64] for start in range(0, len(letters), 64)]
            found.append("\n".join([_BEGIN, *lines, _END, ""]))
    return found


def added() -> list[str]:
    """The certificates of the host's bundle that no package of the distribution has brought."""
    packaged: set[str] = set()
    for folder, _, names in os.walk(_PACKAGED):
        for name in names:
            packaged.update(certificates(_read(f"{folder}/{name}")))
    if not packaged:
        # A distribution that keeps them otherwise: then nothing tells which are its own.
        return []
    return [one for one in dict.fromkeys(certificates(_read(_BUNDLE))) if one not in packaged]


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
