"""An agent of ssh that holds keys which a build was given as files, for as long as a step runs.

It is OpenSSH's, which knows every kind of key; it reads them from our pipe, so that no file but the user's own has
them, and no mode of that file matters. Its socket is shown to nobody: a step gets a forwarder (agents.py), which lists
and signs and does no more.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING

from stackpy_runtime.errors import EngineError
from stackpy_runtime.store import layers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stackpy_runtime.store.root import Root

_WAIT = 10.0  # seconds for the agent to listen
_MOST = 1 << 20  # bytes of a key
# The shell ends with our end of its standard input, also where we are killed, and takes the agent along: ssh-agent
# itself is set-group-ID, so that no signal at its parent's death reaches it (prctl(2), PR_SET_PDEATHSIG).
_SCRIPT = "ssh-agent -D -a agent >/dev/null & read -r end; kill $!; wait"
_HINT = "install openssh-client, or give the socket of an agent: `--ssh ID=SOCKET`"


@contextlib.contextmanager
def of_keys(root: Root, paths: Sequence[str]) -> Iterator[str]:
    """A path, good in this process, of the socket of an agent that holds these private keys.

    Raises EngineError for a file that holds no key, or one with a passphrase, and where OpenSSH is not there.
    """
    import subprocess

    folder = layers.reserve(root)
    place = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Everybody gets the socket as a name in its current folder, or through a descriptor: the folder's path may be
        # too long for an address (unix(7)). A session of its own: an interrupt from the terminal is for us.
        agent = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _await(folder)
            for path in paths:
                _add(folder, path)
            yield f"/proc/self/fd/{place}/agent"
        finally:
            agent.communicate()
    finally:
        os.close(place)
        layers.discard(root, folder)


def _await(folder: str) -> None:
    """Returns when the agent listens."""
    end = time.monotonic() + _WAIT
    while not os.path.exists(f"{folder}/agent"):
        # The shell outlives an agent that could not begin.
        if time.monotonic() > end or shutil.which("ssh-agent") is None:
            raise EngineError("there is no ssh-agent to hold the keys of `--ssh`", hint=_HINT)
        time.sleep(0.002)


def _add(folder: str, path: str) -> None:
    """Gives the agent a key, through a pipe: ssh-add refuses files by their modes, and asks nobody for a passphrase."""
    import subprocess

    try:
        with open(path, "rb") as file:
            key = file.read(_MOST)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise EngineError(f"cannot read the key `{path}`: {reason}", hint="check --ssh") from None
    environment = {**os.environ, "SSH_AUTH_SOCK": "agent", "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["ssh-add", "-q", "-"],
            cwd=folder,
            input=key,
            capture_output=True,
            env=environment,
            start_new_session=True,
            check=False,
        )
    except FileNotFoundError:
        raise EngineError("there is no ssh-add to read the keys of `--ssh`", hint=_HINT) from None
    if done.returncode:
        hint = "it has to be a private key without a passphrase; others are added to an agent by `ssh-add`"
        raise EngineError(f"the key `{path}` cannot be used", hint=hint)
