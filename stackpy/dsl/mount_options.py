"""What is said of a mount besides its source and target: Docker's words and Compose's mappings `bind` and `volume`."""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl.values import Invalid, choices, flag, meant, one_of, show, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Options = dict[str, Any]


# mount_namespaces(7): with an `r` for all that is mounted beneath as well. What a bind has otherwise is rprivate.
PROPAGATION = ("rprivate", "private", "rshared", "shared", "rslave", "slave")
RECURSION = ("enabled", "disabled", "writable", "readonly")
_DESKTOP = ("cached", "delegated", "consistent", "default")

# Keys of Compose's long form, and what to do instead.
ELSEWHERE = {
    "consistency": "Docker Desktop has it; leave it out",
    "bind": "only a bind has it",
    "volume": "only a volume has it",
    "tmpfs": "only a tmpfs has it",
    "image": "copy what is needed into this image: Image(…).copy(…, from_=…)",
}
_RELABELS = "relabels files for SELinux"
_BIND_ELSEWHERE = {"selinux": f"it {_RELABELS}: leave it out"}
_VOLUME_ELSEWHERE = {"labels": 'say it of the volume: Volume("name", labels={…})'}


def short(kind: str, words: str) -> Options:
    """`ro`, `rw`, how a bind spreads, `nocopy` of a volume: separated by commas, as Docker has them."""
    options: Options = {}
    known = ("ro", "rw", *(PROPAGATION if kind == "bind" else ("nocopy",)))
    for word in words.split(","):
        if word in ("z", "Z"):
            raise Invalid(f"has the option `{word}`, which {_RELABELS}", "leave it out")
        if word not in known:
            if word in PROPAGATION:
                raise Invalid(f"has the option `{word}`, which only a folder of the host can have", "leave it out")
            if word == "nocopy":
                raise Invalid("has the option `nocopy`, which only a volume can have", "leave it out")
            hint = "Docker Desktop has it; leave it out" if word in _DESKTOP else f"the options are {choices(known)}"
            raise Invalid(f"has an unknown option `{word}`", hint)
        key, value = _MEANING.get(word, ("propagation", word))
        if key in options:
            raise Invalid(f"has two options of one kind: `{words}`", "leave one out")
        options[key] = value
    return _without_usual(options)


_MEANING: dict[str, tuple[str, object]] = {
    "ro": ("read_only", True),
    "rw": ("read_only", False),
    "nocopy": ("nocopy", True),
}


def bind(value: object, read_only: bool) -> Options:
    """Compose's `bind`: propagation, recursive, and create_host_path where it is False."""
    options = mapping("bind", value, _BIND, _BIND_ELSEWHERE)
    if options.pop("create_host_path", False):
        raise Invalid("would make a folder of the host where none is", "make it before", ("bind", "create_host_path"))
    recursive = options.get("recursive")
    if recursive == "readonly" and not read_only:
        raise Invalid("is `readonly` of a mount that can be written", "add read_only=True", ("bind", "recursive"))
    if recursive == "readonly" and options.get("propagation", "rprivate") != "rprivate":
        raise Invalid(
            "is `readonly`, which nothing can promise of what is mounted there later",
            "leave `propagation` out",
            ("bind", "recursive"),
        )
    return _without_usual(options)


def _without_usual(options: Options) -> Options:
    """Without what a bind is anyway; where it is read-only, all that is mounted beneath is so too."""
    usual = {"propagation": ("rprivate",), "recursive": ("enabled", "readonly")}
    return {key: value for key, value in options.items() if value not in usual.get(key, ())}


def volume(value: object) -> Options:
    """Compose's `volume`: nocopy and subpath."""
    return mapping("volume", value, {"nocopy": flag, "subpath": subpath}, _VOLUME_ELSEWHERE)


def subpath(value: object) -> str:
    """A path in a volume, relative to its top: `a/b`."""
    path = value if isinstance(value, str) else ""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise wrong("a path in the volume, such as `a/b`", value)
    return "/".join(parts)


def mapping(
    name: str,
    value: object,
    parsers: Mapping[str, Callable[[Any], Any]],
    elsewhere: Mapping[str, str] | None = None,
) -> Options:
    """A mapping of the long form, each key by its parser."""
    if not isinstance(value, Mapping):
        keys = [f"`{key}`" for key in parsers]
        raise Invalid(f"must be a mapping with {', '.join(keys[:-1])} and {keys[-1]}, not {show(value)}", path=(name,))
    result: Options = {}
    for key, given in value.items():
        if key not in parsers:
            hint = (elsewhere or {}).get(str(key)) or meant(str(key), parsers)
            raise Invalid(f"has an unknown key `{key}`", hint, (name, str(key)), True)
        try:
            result[key] = parsers[key](given)
        except Invalid as invalid:
            raise invalid.inside(name, str(key)) from None
    return result


_BIND: dict[str, Callable[[Any], Any]] = {
    "propagation": one_of(*PROPAGATION),
    "create_host_path": flag,
    "recursive": one_of(*RECURSION),
}
