"""The client of the supervisor: what it says while nobody answers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from stackpy_runtime.host import client, launch
from stackpy_runtime.host.wire import Connection


def test_it_says_once_that_the_engine_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper holds the socket, so that a connection is made though nobody serves it yet."""
    monkeypatch.setattr(client, "SILENCE", 1)
    (tmp_path / "run").mkdir()
    listener = launch.listen(f"{tmp_path}/run/supervisor.sock")
    told: list[str] = []
    said = threading.Event()

    def waiting(text: str) -> None:
        told.append(text)
        said.set()

    def serve() -> None:
        import socket

        with socket.socket(fileno=listener) as held:
            for place in range(2):
                connection = Connection(held.accept()[0].detach())
                request, _ = connection.receive()
                if place == 0:
                    assert said.wait(60)
                connection.send({"hello": 1})
                connection.send({"ok": request["op"]})
                connection.close()

    server = threading.Thread(target=serve)
    server.start()
    line = client.Client(str(tmp_path), waiting=waiting)
    assert [line.call("one"), line.call("two")] == ["one", "two"]
    server.join()
    assert told == [f"waiting for the engine, which does not answer; {tmp_path}/run/engine.log may tell why"]
