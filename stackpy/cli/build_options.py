"""Values of the options of `stackpy build` that have a form of their own: arguments, labels, secrets, agents."""

from __future__ import annotations

import os

from stackpy.errors import StackpyError, UsageError
from stackpy.project import cache_places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_MOST_SECRET = 500 << 10  # bytes, as BuildKit
_SSH_AGENT = "SSH_AUTH_SOCK"


def arguments(given: Iterable[str]) -> dict[str, str]:
    """`--build-arg KEY=VALUE`; `KEY` alone takes the value of that variable here, and nothing where it is not set."""
    result = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"`--build-arg {text}`: expected KEY=VALUE or KEY", hint="as in `--build-arg VERSION=1.2`")
        if equals:
            result[name] = value
        elif name in os.environ:
            result[name] = os.environ[name]
    return result


def check_tag(name: str, option: str = "--tag ") -> None:
    """Raises UsageError for what cannot be the name of an image."""
    from stackpy.dsl.references import tag
    from stackpy.dsl.values import Invalid

    try:
        tag(name)
    except Invalid as invalid:
        raise UsageError(
            f"`{option}{name}`: {invalid.message}", hint=invalid.hint or "as in `--tag shop/web:1.2`"
        ) from None


def labels(given: Iterable[str]) -> dict[str, str]:
    """`--label KEY=VALUE`, or `KEY` with an empty value."""
    result = {}
    for text in given:
        name, _, value = text.partition("=")
        if not name:
            raise UsageError(f"`--label {text}`: expected KEY=VALUE", hint="as in `--label version=1.2`")
        result[name] = value
    return result


def contexts(given: Iterable[str]) -> dict[str, str]:
    """`--build-context NAME=PLACE`: absolute folders, and images as `docker-image://reference`."""
    result = {}
    for text in given:
        name, equals, place = text.partition("=")
        if not name or not equals or not place:
            raise UsageError(
                f"`--build-context {text}`: expected NAME=FOLDER", hint="as in `--build-context lib=../lib`"
            )
        if not place.startswith("docker-image://"):
            if not os.path.isdir(place):
                hint = "give a folder, or an image as docker-image://REFERENCE"
                raise StackpyError(f"the context `{name}` is no folder: `{place}`", hint=hint)
            place = os.path.abspath(place)
        result[name] = place
    return result


def secrets(given: Iterable[str]) -> dict[str, bytes]:
    """`--secret id=ID[,src=FILE|,env=NAME]`; without either the variable ID, else the file ID. Values, by ID."""
    result = {}
    for text in given:
        fields = _fields("--secret", text, {"id": "id", "src": "src", "source": "src", "env": "env", "type": "type"})
        name, kind = fields.get("id", ""), fields.get("type", "")
        if kind not in ("", "file", "env"):
            raise UsageError(f"`--secret {text}`: type is `file` or `env`")
        if not name:
            raise UsageError(f"`--secret {text}`: it has no id", hint="as in `--secret id=token,src=token.txt`")
        if "src" in fields and "env" in fields:
            raise UsageError(f"`--secret {text}`: it has both a file and a variable", hint="give one of them")
        variable = fields.get("env") or (fields.get("src", name) if kind == "env" else "")
        if not variable and "src" not in fields and kind != "file" and name in os.environ:
            variable = name
        result[name] = _of_variable(name, variable) if variable else _of_file(name, fields.get("src", name))
    return result


def _of_variable(name: str, variable: str) -> bytes:
    value = os.environb.get(os.fsencode(variable))
    if value is None:
        raise StackpyError(f"secret `{name}`: the variable `{variable}` is not set", hint=f"export {variable}=…")
    return value


def _of_file(name: str, path: str) -> bytes:
    try:
        with open(os.path.expanduser(path), "rb") as file:
            value = file.read(_MOST_SECRET + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StackpyError(f"secret `{name}`: cannot read `{path}`: {reason}", hint="check src=") from None
    if len(value) > _MOST_SECRET:
        raise StackpyError(f"secret `{name}`: `{path}` is larger than {_MOST_SECRET >> 10} KiB")
    return value


def agents(given: Iterable[str]) -> dict[str, Any]:
    """`--ssh default`, `--ssh ID=SOCKET` or `--ssh ID=KEY,KEY…`: the build options `ssh` and `ssh_keys`, by ID."""
    sockets: dict[str, str] = {}
    keys: dict[str, list[str]] = {}
    for text in given:
        name, _, listed = text.partition("=")
        name = name or "default"
        if name in sockets or name in keys:
            raise UsageError(f"`--ssh {text}`: `{name}` is given twice", hint=f"as in `--ssh {name}=KEY,KEY`")
        paths = [os.path.abspath(os.path.expanduser(path)) for path in listed.split(",") if path]
        if not paths:
            own = os.environ.get(_SSH_AGENT, "")
            if not own:
                hint = f"eval $(ssh-agent), then ssh-add; or name a key: `--ssh {name}=~/.ssh/id_ed25519`"
                raise StackpyError(f"`--ssh {text}`: no agent runs here", hint=hint)
            paths = [own]
        if any(_is_socket(path) for path in paths):
            if len(paths) > 1:
                raise UsageError(f"`--ssh {text}`: one agent, or several keys", hint="give the socket alone")
            sockets[name] = paths[0]
            continue
        for path in paths:
            _check_key(text, path)
        keys[name] = paths
    return {"ssh": sockets, **({"ssh_keys": keys} if keys else {})}


def _check_key(text: str, path: str) -> None:
    """Raises StackpyError for a file that no agent would take, as far as its form tells."""
    try:
        with open(path, "rb") as file:
            key = file.read(_MOST_SECRET)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "give an agent's socket, or the file of a private key"
        raise StackpyError(f"`--ssh {text}`: cannot read `{path}`: {reason}", hint=hint) from None
    if b"PRIVATE KEY-----" not in key:
        public = key.startswith((b"ssh-", b"ecdsa-", b"sk-"))
        hint = f"give the private one: {path.removesuffix('.pub')}" if public else "give the file of a private key"
        what = "is a public key" if public else "is neither a socket nor a private key"
        raise StackpyError(f"`--ssh {text}`: `{path}` {what}", hint=hint)
    if _has_passphrase(key):
        hint = f"add it to an agent, and give that: ssh-add {path}, then `--ssh {text.partition('=')[0]}`"
        raise StackpyError(f"`--ssh {text}`: the key `{path}` has a passphrase", hint=hint)


def _has_passphrase(key: bytes) -> bool:
    """Whether a private key is encrypted: PEM's headers, PKCS 8, and OpenSSH's own form (PROTOCOL.key)."""
    if b"ENCRYPTED" in key:
        return True
    if b"BEGIN OPENSSH PRIVATE KEY" not in key:
        return False
    import binascii

    try:
        body = binascii.a2b_base64(b"".join(key.split(b"-----")[2].split()))
    except (ValueError, IndexError):
        return False  # ssh-add will say
    magic = b"openssh-key-v1\0"
    # Behind the magic the cipher's name with its length: "none" without a passphrase.
    return body.startswith(magic) and body[len(magic) :][:8] != b"\0\0\0\4none"


def _is_socket(path: str) -> bool:
    import stat

    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def allowed(given: Iterable[str]) -> list[str]:
    """`--allow security.insecure` and `--allow network.host`."""
    known = ("security.insecure", "network.host")
    for name in given:
        if name not in known:
            raise UsageError(f"`--allow {name}`: expected {' or '.join(known)}")
    return list(given)


def cache_places_of(option: str, given: Iterable[str]) -> list[str]:
    """`--cache-to` and `--cache-from`: a folder or a registry's reference, or as BuildKit writes them.

    Gives absolute folders, and references as `docker://reference`.
    """
    return [_cache_place(option, text) for text in given]


def _cache_place(option: str, text: str) -> str:
    place, kind = text, ""
    if text.startswith("type="):
        folder = "dest" if option == "--cache-to" else "src"
        fields = _fields(option, text, {name: name for name in ("type", folder, "ref", "mode")})
        kind = fields["type"]
        if kind not in ("local", "registry"):
            raise UsageError(f"`{option} {text}`: expected a folder, type=local or type=registry")
        if fields.get("mode", "max") != "max":
            raise UsageError(f"`{option} {text}`: all steps are kept", hint="leave mode= out, or write mode=max")
        place = fields.get("ref" if kind == "registry" else folder, "")
    if not place:
        raise UsageError(f"`{option} {text}`: no place is named", hint=f"as in `{option} ci-cache`")
    if kind == "registry":
        return cache_places.reference(place)
    return os.path.abspath(os.path.expanduser(place)) if kind else cache_places.place(place)


def _fields(option: str, text: str, known: dict[str, str]) -> dict[str, str]:
    result = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if name not in known or not equals:
            hint = f"expected {', '.join(f'{each}=…' for each in known)}"
            raise UsageError(f"`{option} {text}`: `{part}` is not understood", hint=hint)
        result[known[name]] = value
    return result
