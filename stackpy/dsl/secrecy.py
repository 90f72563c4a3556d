"""What may be a secret though it is no Secret, by its name or its form: it stays out of plans and of what is kept."""

from __future__ import annotations

_WORDS = (
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "APIKEY",
    "API_KEY",
    "PRIVATE_KEY",
    "CREDENTIAL",
)
SHORTEST = 4  # characters: what is shorter would be found everywhere


def sensitive_name(name: str) -> bool:
    """Whether what is called so may be a secret; a file's path is none."""
    return not name.upper().endswith("_FILE") and tells(name)


def tells(text: str) -> bool:
    """Whether a word that tells of a secret is in a text."""
    upper = text.upper()
    return any(word in upper for word in _WORDS)


def has_password(text: str) -> bool:
    """Whether it is a URL like scheme://user:password@host."""
    _, separator, rest = text.partition("://")
    user, at, _ = rest.partition("/")[0].rpartition("@")
    return bool(separator and at and ":" in user)


def holds(value: object, hidden: tuple[str, ...]) -> bool:
    """Whether one of these texts is in a value, however deep."""
    if isinstance(value, str):
        return any(text in value for text in hidden)
    if isinstance(value, dict):
        return any(holds(key, hidden) or holds(one, hidden) for key, one in value.items())
    if isinstance(value, list | tuple):
        return any(holds(one, hidden) for one in value)
    return False
