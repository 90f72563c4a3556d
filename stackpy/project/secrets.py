"""Values of secrets: read when an engine asks, held in memory, shown nowhere."""

from __future__ import annotations

import os
from _thread import allocate_lock

from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

COMMAND_TIMEOUT = 120  # seconds; a person may have to unlock a key


class SecretValues:
    """The secrets of a stack by name. Each source is read once, when it is first needed."""

    __slots__ = ("_folder", "_lock", "_sources", "_values")

    def __init__(self, sources: dict[str, dict[str, Any]], folder: str) -> None:
        self._sources, self._folder = sources, folder
        self._values: dict[str, bytes | None] = {}
        self._lock = allocate_lock()

    def get(self, name: str) -> bytes | None:
        """The value; None where the source has none now: a variable that is not set, a file that does not exist.

        Raises StackpyError when a file cannot be read or a command fails, without anything of what it printed.
        """
        with self._lock:
            if name not in self._values:
                self._values[name] = self._read(name)
            return self._values[name]

    def _read(self, name: str) -> bytes | None:
        source = self._sources.get(name, {})
        if "env" in source:
            return os.environb.get(source["env"].encode())
        if "file" in source:
            try:
                with open(source["file"], "rb") as file:
                    return file.read()
            except FileNotFoundError:
                return None
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                raise StackpyError(f"secret `{name}`: cannot read {source['file']}: {why}") from None
        return self._run(name, source["command"]) if "command" in source else None

    def _run(self, name: str, command: list[str]) -> bytes:
        # 12 ms to import, and few secrets come from programs
        import subprocess

        hint = "run the command by hand to see what it says"
        try:
            # its standard error may hold the value too, so that it is not passed on
            done = subprocess.run(
                command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=COMMAND_TIMEOUT,
                check=False,
            )
        except OSError as error:
            why = (error.strerror or "cannot be run").lower()
            raise StackpyError(f"secret `{name}`: cannot run `{command[0]}`: {why}") from None
        except subprocess.TimeoutExpired:
            raise StackpyError(
                f"secret `{name}`: `{command[0]}` took longer than {COMMAND_TIMEOUT} seconds", hint=hint
            ) from None
        if done.returncode:
            code = done.returncode
            how = f"exited with {code}" if code > 0 else f"was killed by signal {-code}"
            raise StackpyError(f"secret `{name}`: `{command[0]}` {how}", hint=hint)
        # a program that prints a value ends the line: $(…) of a shell takes that away too
        return done.stdout.removesuffix(b"\n")

    def __repr__(self) -> str:
        return f"<{len(self._sources)} secrets>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets cannot be pickled")
