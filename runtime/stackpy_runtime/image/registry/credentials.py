"""Credentials for registries as `docker login` keeps them: ~/.docker/config.json and docker-credential-* programs."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from typing import Any, NamedTuple

from stackpy_runtime.errors import EngineError, InvalidConfig
from stackpy_runtime.image.references import DEFAULT_REGISTRY

# Docker's key for Docker Hub (cli/config/types, registry.IndexServer).
_HUB = "https://index.docker.io/v1/"
_HELPER_SECONDS = 60


class Login(NamedTuple):
    """What proves who asks: a name with a password, or an identity token (an OAuth2 refresh token)."""

    username: str = ""
    password: str = ""
    token: str = ""

    def __repr__(self) -> str:
        return f"Login({self.username!r})"  # in no traceback and no log


class Credentials:
    """The credentials of this user.

    folder: with config.json in it; None: DOCKER_CONFIG, else ~/.docker
    """

    def __init__(self, folder: str | None = None) -> None:
        chosen = folder or os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
        self.path = os.path.join(chosen, "config.json")

    def get(self, registry: str) -> Login | None:
        """What is kept for a registry (HOST[:PORT]); asks its helper, where it has one.

        Raises InvalidConfig for a damaged file, EngineError for a helper that fails.
        """
        document = self._read()
        if helper := _helper(document, registry):
            return self._ask(helper, registry)
        auths = document.get("auths", {})
        for key in auths if isinstance(auths, dict) else ():
            if _same(key, registry) and isinstance(auths[key], dict):
                return self._entry(auths[key], registry)
        return None

    def put(self, registry: str, login: Login) -> str:
        """Keeps credentials; returns the helper that has them now, or "" where they stand in the file."""
        document = self._read()
        if helper := _helper(document, registry):
            name, secret = ("<token>", login.token) if login.token else (login.username, login.password)
            _run(helper, "store", json.dumps({"ServerURL": _key(registry), "Username": name, "Secret": secret}))
            return helper
        encoded = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
        entry = {"auth": encoded, **({"identitytoken": login.token} if login.token else {})}
        document["auths"] = {**_others(document, registry), _key(registry): entry}
        self._write(document)
        return ""

    def remove(self, registry: str) -> bool:
        """Forgets them; returns whether there were any."""
        document = self._read()
        found = False
        if helper := _helper(document, registry):
            found = self._ask(helper, registry) is not None
            if found:
                _run(helper, "erase", _key(registry))
        others = _others(document, registry)
        if others != document.get("auths", {}):
            self._write({**document, "auths": others})
            found = True
        return found

    def _ask(self, helper: str, registry: str) -> Login | None:
        output = _run(helper, "get", _key(registry))
        if output is None:
            return None
        try:
            answer = json.loads(output)
            name, secret = str(answer["Username"]), str(answer["Secret"])
        except (ValueError, KeyError, TypeError):
            raise EngineError(f"docker-credential-{helper} gave no credentials for {registry}") from None
        return Login(token=secret) if name == "<token>" else Login(name, secret)

    def _entry(self, entry: dict[str, Any], registry: str) -> Login | None:
        if token := entry.get("identitytoken"):
            return Login(token=str(token))
        if entry.get("auth"):
            try:
                name, colon, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
            except ValueError:
                colon = ""
            if not colon:
                raise InvalidConfig(f"{self.path}: `auth` of {registry} cannot be read", hint="log in again")
            return Login(name, password.rstrip("\0"))
        if entry.get("username"):
            return Login(str(entry["username"]), str(entry.get("password", "")))
        return None

    def _read(self) -> dict[str, Any]:
        try:
            with open(self.path, "rb") as file:
                document = json.loads(file.read() or b"{}")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise EngineError(f"cannot read {self.path}: {(error.strerror or str(error)).lower()}") from None
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise InvalidConfig(f"{self.path} is no JSON document", hint="mend it, or move it away and log in again")
        return document

    def _write(self, document: dict[str, Any]) -> None:
        aside = f"{self.path}.{os.getpid()}.part"
        try:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            # Nobody else may see it, not even while it is written.
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w") as file:
                json.dump(document, file, indent="\t")
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, os.path.realpath(self.path))
        except OSError as error:
            raise EngineError(f"cannot write {self.path}: {(error.strerror or str(error)).lower()}") from None


def _key(registry: str) -> str:
    return _HUB if registry == DEFAULT_REGISTRY else registry


def _same(key: str, registry: str) -> bool:
    """Whether a key of `auths` is of this registry; old files have URLs with /v1/ or /v2/ there."""
    if registry == DEFAULT_REGISTRY:
        return key in (_HUB, "index.docker.io", DEFAULT_REGISTRY, "registry-1.docker.io", _HUB.replace("v1", "v2"))
    return key.partition("://")[2].partition("/")[0] == registry if "://" in key else key.rstrip("/") == registry


def _helper(document: dict[str, Any], registry: str) -> str:
    own = document.get("credHelpers", {})
    for key, helper in own.items() if isinstance(own, dict) else ():
        if _same(key, registry):
            return str(helper)
    return str(document.get("credsStore", "") or "")


def _others(document: dict[str, Any], registry: str) -> dict[str, Any]:
    auths = document.get("auths", {})
    return {key: entry for key, entry in auths.items() if not _same(key, registry)} if isinstance(auths, dict) else {}


def _run(helper: str, verb: str, text: str) -> str | None:
    """What a credential helper prints; None where it knows nothing (docker-credential-helpers, the protocol)."""
    if not helper.replace("-", "").replace("_", "").replace(".", "").isalnum() or helper.startswith("."):
        raise InvalidConfig(f"`{helper}` cannot be a credential helper", hint="it is what follows docker-credential-")
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        raise EngineError(
            f"docker-credential-{helper} is not on PATH",
            hint="install it, or take credsStore and credHelpers out of docker's config.json",
        )
    try:
        done = subprocess.run(
            [program, verb], input=text, capture_output=True, text=True, timeout=_HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"docker-credential-{helper} {verb}: {error}") from None
    if done.returncode == 0:
        return done.stdout
    if verb == "get" and "not found" in f"{done.stdout}{done.stderr}".lower():
        return None
    reason = (done.stderr or done.stdout).strip().splitlines()[:1]
    raise EngineError(f"docker-credential-{helper} {verb} failed: {(reason or ['it does not say why'])[0][:200]}")
