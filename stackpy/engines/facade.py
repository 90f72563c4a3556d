"""What rollouts and provisioning ask of the container engine; engines/embedded.py hands it in.

The engine's own documents are typed in its package, which only embedded.py may import; here they are mappings. Every
method raises StackpyError, and Missing where the object does not exist.
"""

from __future__ import annotations

from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, Protocol

    Document = Mapping[str, Any]

    class Facade(Protocol):
        """The methods of stackpy_runtime.engine.Engine that change a stack's resources."""

        def containers(self, stack: str | None = None) -> Sequence[Document]: ...
        def container(self, reference: str) -> Document: ...
        def containers_named(self, names: list[str]) -> Sequence[Document]: ...
        def images(self) -> Sequence[Document]: ...
        def network(self, name: str) -> Document: ...
        def volume(self, name: str) -> Document: ...
        def networks(self) -> Sequence[Document]: ...
        def addresses(self, network: str) -> Mapping[str, str]: ...
        def volumes(self) -> Sequence[Document]: ...
        def secrets(self) -> Sequence[Document]: ...
        def logs(self, reference: str, *, tail: int | None = None) -> Iterator[Document]: ...
        def build(
            self,
            source: Document,
            recipe: Document,
            *,
            key: str,
            tags: list[str],
            labels: dict[str, str],
            progress: Callable[[Document], None],
            options: Document,
        ) -> Document: ...
        def pull(
            self,
            reference: str,
            *,
            platform: str,
            policy: str,
            digest: str,
            base: bool,
            progress: Callable[[Document], None],
        ) -> Document: ...
        def tag(self, reference: str, name: str) -> None: ...
        def push(self, image: str, reference: str, *, progress: Callable[[Document], None]) -> str: ...
        def up(self, config: Document) -> str: ...
        def start(self, reference: str) -> None: ...
        def stop(self, reference: str) -> str: ...
        def restart(self, reference: str) -> None: ...
        def unpause(self, reference: str) -> None: ...
        def down(self, reference: str) -> None: ...
        def wait(self, reference: str) -> int: ...
        def update(self, reference: str, changes: Document) -> None: ...
        def refresh_secrets(self, reference: str) -> None: ...
        def kill(self, reference: str, signal: str) -> None: ...
        def rename(self, reference: str, name: str, *, labels: dict[str, str] | None = None) -> None: ...
        def drain(self, reference: str, timeout: float) -> bool: ...
        def listening(self, reference: str) -> set[int]: ...
        def restore_network(self, name: str) -> None: ...
        def restore_volume(self, name: str) -> None: ...
        def rename_network(self, name: str, new: str) -> None: ...
        def rename_volume(self, name: str, new: str) -> None: ...
        def await_state(self, reference: str, condition: str, timeout: float | None) -> Document: ...
        def create_network(self, config: Document) -> Document: ...
        def label_network(self, name: str, labels: dict[str, str]) -> None: ...
        def remove_network(self, name: str) -> None: ...
        def create_volume(self, name: str, labels: dict[str, str]) -> Document: ...
        def label_volume(self, name: str, labels: dict[str, str]) -> None: ...
        def remove_volume(self, name: str) -> None: ...
        def volume_snapshots(self, name: str) -> Sequence[Document]: ...
        def snapshot_volume(self, name: str, labels: dict[str, str], go_on: Callable[[], None]) -> Document: ...
        def remove_volume_snapshot(self, name: str, identity: str) -> None: ...
        def restore_volume_snapshot(
            self,
            name: str,
            identity: str,
            labels: dict[str, str],
            ready: Callable[[], None],
            go_on: Callable[[], None],
        ) -> Document: ...
        def put_secret(self, name: str, value: bytes, labels: dict[str, str]) -> None: ...
        def remove_secret(self, name: str) -> None: ...


OUTPUT = "\n  | "  # what stands before each line of a process's output in a message


class Missing(StackpyError):
    """The engine has no such object."""


class NoRights(StackpyError):
    """This user may not read or change the engine's root."""


def last_lines(engine: Facade, name: str, count: int = 20) -> str:
    """The end of what a container wrote, for the message of its failure; "" where there is nothing to read."""
    try:
        return "".join(line["text"] for line in engine.logs(name, tail=count)).rstrip("\n")
    except StackpyError:
        return ""  # the failure itself is what matters, and it is raised by the caller


def explained(engine: Facade, name: str, error: StackpyError) -> StackpyError:
    """A container's failure with the end of what it wrote, unless the engine has shown that already."""
    if OUTPUT in error.message:
        return error
    return StackpyError(with_output(error.message, last_lines(engine, name)), hint=error.hint)


def with_output(message: str, output: str) -> str:
    """A message with a process's last lines below it."""
    return message + "".join(f"{OUTPUT}{line}" for line in output.splitlines())


def at_once(tasks: Iterable[Callable[[], None]]) -> None:
    """Runs all tasks in threads of their own and returns when all have ended.

    Raises what the first failed one raised, its message followed by those of the others.
    """
    waiting = list(tasks)
    if len(waiting) == 1:
        waiting[0]()
        return
    import threading  # 3 ms, and one task needs none

    errors: list[BaseException] = []

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # handed to the caller below, whatever it is
            errors.append(error)

    threads = [threading.Thread(target=run, args=(task,), daemon=True) for task in waiting]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not errors:
        return
    first = errors[0]
    if isinstance(first, StackpyError) and len(errors) > 1:
        messages = dict.fromkeys(error.message for error in errors if isinstance(error, StackpyError))
        raise StackpyError("\n".join(messages), hint=first.hint) from first
    raise first
