"""Proving who asks: Basic (RFC 7617) and the tokens of the distribution project (docs/spec/auth).

A challenge counts only from the registry itself, never from where it redirects to.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from stackpy_runtime.errors import EngineError
from stackpy_runtime.image.limits import shown
from stackpy_runtime.image.registry import backoff
from stackpy_runtime.image.registry.transport import Asked, Broken

if TYPE_CHECKING:
    from stackpy_runtime.image.registry.credentials import Credentials, Login
    from stackpy_runtime.image.registry.transport import Response, Transport

_CLIENT = "stackpy"
_ANSWER = 1 << 20  # bytes; a token has a few thousand
_PARAMETER = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


class Challenge(NamedTuple):
    """What a registry asks for: `basic` or `bearer`, and the parameters that it gives."""

    kind: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def challenge(header: str) -> Challenge | None:
    """The challenge of a WWW-Authenticate header, tokens preferred; None for one that we cannot meet. Pure."""
    found: dict[str, Challenge] = {}
    # Schemes are the words that no `=` follows.
    starts = list(re.finditer(r"(?:^|,\s*)(Bearer|Basic)(?=\s|,|$)", header, re.IGNORECASE))
    for index, start in enumerate(starts):
        end = starts[index + 1].start() if index + 1 < len(starts) else len(header)
        given = {
            match[1].lower(): re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
            for match in _PARAMETER.finditer(header, start.end(), end)
        }
        kind = start[1].lower()
        values = (given.get("realm", ""), given.get("service", ""), given.get("scope", ""))
        found.setdefault(kind, Challenge(kind, *values))
    return found.get("bearer") or found.get("basic")


class Authority:
    """What has been proven to one endpoint; may be used by several threads.

    name: under which the credentials are kept
    """

    def __init__(self, transport: Transport, name: str, credentials: Credentials) -> None:
        self._transport, self._name, self._credentials = transport, name, credentials
        self._tokens: dict[str, str] = {}  # scope → the Authorization header
        self._basic = ""
        self._challenge: Challenge | None = None
        self._login: Login | None = None
        self._asked = False
        self._lock = threading.RLock()

    @property
    def known(self) -> bool:
        """Whether there are credentials for it, once they were needed."""
        return self._login is not None

    def header(self, scope: str) -> str:
        """The Authorization header for a scope as far as it is known; "" without one."""
        with self._lock:
            if self._challenge is not None and self._challenge.kind == "bearer" and scope not in self._tokens:
                # The registry asked for tokens before: it would only ask again.
                self._fetch(self._challenge, scope)
            return self._basic or self._tokens.get(scope, "")

    def answer(self, text: str, scope: str, refused: str) -> bool:
        """Meets the challenge of a 401; returns whether there is another header than `refused` to try.

        Raises EngineError where credentials are needed or not accepted, or the token server fails.
        """
        asked = challenge(text)
        if asked is None:
            raise EngineError(f"{self._name} asks for a way of authentication that is not known: `{shown(text[:80])}`")
        with self._lock:
            if (now := self._basic or self._tokens.get(scope, "")) and now != refused:
                return True  # another thread was faster
            self._challenge = asked
            if asked.kind == "basic":
                login = self._credential()
                if login is None or not login.username:
                    return False
                self._basic = _basic(login)
                return self._basic != refused
            self._tokens.pop(scope, None)
            self._fetch(asked, scope)
            return self._tokens[scope] != refused

    def _credential(self) -> Login | None:
        if not self._asked:
            self._login, self._asked = self._credentials.get(self._name), True
        return self._login

    def _fetch(self, asked: Challenge, scope: str) -> None:
        if not self._transport.is_safe(asked.realm):
            raise EngineError(f"{self._name} sends for a token to `{shown(asked.realm[:100])}`, which is not asked")
        login = self._credential()
        fields = [("service", asked.service)] if asked.service else []
        # One query field for each, as the reference server reads them.
        fields += [("scope", part) for part in (scope or asked.scope).split(" ") if part]
        if login is not None and login.token:
            form = [("grant_type", "refresh_token"), ("refresh_token", login.token), ("client_id", _CLIENT), *fields]
            joined = [pair for pair in form if pair[0] != "scope"]
            joined.append(("scope", scope or asked.scope))
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            response = self._transport.send(Asked("POST", asked.realm, headers, urlencode(joined).encode()))
        else:
            headers = {"Authorization": _basic(login)} if login is not None else {}
            if login is not None:
                fields.insert(0, ("account", login.username))
            url = f"{asked.realm}{'&' if '?' in asked.realm else '?'}{urlencode(fields)}"
            response = self._transport.send(Asked("GET", url, headers))
        self._tokens[scope] = f"Bearer {self._token(response, login)}"

    def _token(self, response: Response, login: Login | None) -> str:
        data = response.body(_ANSWER)
        if response.status in (401, 403):
            who = f"as {login.username}" if login is not None and login.username else "with these credentials"
            raise refused(self._name, f"it does not let you in {who}" if login is not None else "it lets nobody in")
        if backoff.passing(response.status):
            raise Broken(f"the token server of {self._name} answers {response.status}")
        if response.status != 200 or len(data) > _ANSWER:
            raise EngineError(f"the token server of {self._name} answers {response.status}")
        try:
            document = json.loads(data)
            token = document.get("token") or document.get("access_token")
        except (ValueError, AttributeError, RecursionError):
            token = None
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            raise EngineError(f"the token server of {self._name} gives no token")
        return token


def refused(name: str, why: str) -> EngineError:
    """The error for what a registry does not allow."""
    registry = "" if name == "docker.io" else f" {name}"
    return EngineError(f"{name} refuses: {why}", hint=f"log in: `stackpy login{registry}`")


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
