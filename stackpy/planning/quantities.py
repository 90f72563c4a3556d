"""Values in words for people: sizes, times, command lines. No control character of a value reaches a terminal."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNSET = "(unset)"
SENSITIVE = "(sensitive)"

_SIZES = frozenset({"mem_limit", "memswap_limit", "mem_reservation", "shm_size", "size", "max_size"})
_TIMES = frozenset({"stop_grace_period", "interval", "timeout", "start_period", "start_interval"})
_COMMANDS = frozenset({"command", "entrypoint", "test"})
_PLAIN = frozenset("@%+=:,./-_")  # with letters and digits: what a shell takes as it is
_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()


def human(path: str, value: Any) -> str:
    """`value` of the field at `path` as people write it: `256 MiB`, `1.5 s`, `python -m app`."""
    name = path.rpartition(".")[2]
    if value is None:
        return UNSET
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return _number(name, value)
    if isinstance(value, (list, tuple)):
        entries = [printable(str(entry)) for entry in value]
        return " ".join(map(_quoted, entries)) or "[]" if name in _COMMANDS else ", ".join(entries) or "[]"
    if isinstance(value, dict):
        return _mount(value) if "source" in value else ", ".join(f"{k}={human(k, v)}" for k, v in value.items())
    return printable(str(value)) or '""'


def _number(name: str, value: float) -> str:
    if name in _SIZES:
        return size(int(value))
    if name in _TIMES:
        return f"{value:g} s"
    if name == "mode":
        return f"{int(value):04o}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _mount(mount: dict[str, Any]) -> str:
    words = [printable(mount["source"]) or mount["type"]]
    words += ["read-only"] if mount.get("read_only") else []
    words += ['owner="plain"'] if mount.get("owner") == "plain" else []
    words += [f"{key} {human(key, mount[key])}" for key in ("size", "mode") if key in mount]
    return ", ".join(words)


def _quoted(word: str) -> str:
    """The word as a shell needs it; shlex would bring `re`, which costs as much as a plan."""
    if word and all(char.isalnum() or char in _PLAIN for char in word):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


def printable(text: str) -> str:
    """`text` on one line, with what a terminal would act on shown as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def size(count: int) -> str:
    """Bytes in binary units: `256 MiB`, `1.5 GiB`; -1 is no limit."""
    if count == -1:
        return "unlimited"
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{round(value, 2):g} {unit}"


def number(count: int) -> str:
    """A small number as a word, others in digits."""
    return _WORDS[count] if 0 <= count < len(_WORDS) else str(count)


def plural(count: int, noun: str) -> str:
    """`1 change`, `3 changes`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def ago(seconds: float) -> str:
    """How long ago: `just now`, `four minutes ago`; rounded down to one unit."""
    if seconds < 1:
        return "just now"
    count, unit = int(seconds), "second"
    for limit, larger in ((60, "minute"), (60, "hour"), (24, "day")):
        if count < limit:
            break
        count, unit = count // limit, larger
    return f"{number(count)} {unit}{'' if count == 1 else 's'} ago"
