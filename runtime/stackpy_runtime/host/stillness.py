"""Keeping containers still while their files are read: the client's side of the supervisor's `still`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackpy_runtime.host.client import Client
    from stackpy_runtime.host.wire import Connection
    from stackpy_runtime.model import Container


class still:
    """While it is entered, a container that runs stands still; whatever ends this process, it goes on."""

    def __init__(self, client: Client, container: Container) -> None:
        self._client, self._container = client, container
        self._connection: Connection | None = None

    def __enter__(self) -> None:
        if self._container["state"]["status"] not in ("running", "paused", "restarting"):
            return
        self._connection = self._client.request("still", {"container": self._container["id"]})
        try:
            answer, _ = self._connection.receive()
            if "error" in answer:
                self._client.unwrap(answer)
        except BaseException:
            self._connection.close()
            raise

    def __exit__(self, kind: object, *_: object) -> None:
        if self._connection is None:
            return
        try:
            if kind is None:
                self._connection.send({})
                self._client.result(self._connection)
        except (BrokenPipeError, ConnectionResetError):
            from stackpy_runtime.errors import EngineLost

            raise EngineLost(
                f"the supervisor ended while container {self._container['name']} stood still: what was read is not "
                "of one moment",
                hint="try again: the next supervisor is there",
            ) from None
        finally:
            self._connection.close()


class all_still:
    """The same for several. In one order, since two that each wait for what the other holds would do so for ever."""

    def __init__(self, client: Client, containers: Iterable[Container]) -> None:
        self._each = [still(client, one) for one in sorted(containers, key=lambda one: one["id"])]
        self._entered: list[still] = []

    def __enter__(self) -> None:
        try:
            for one in self._each:
                one.__enter__()
                self._entered.append(one)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        while self._entered:
            self._entered.pop().__exit__(kind, error, trace)
