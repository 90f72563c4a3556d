"""`why`: what is said of a resource, a port, a blob, and where it comes from."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from stackpy.cli import sockets
from stackpy.dsl.specs import Spec
from stackpy.planning.comparison import diff
from stackpy.planning.plan import Action, Change, Plan, Reason, Refusal, Verdict
from stackpy.planning.why import Running, of_blob, of_port, of_resource
from stackpy.problems import Location
from tests.unit.planning import case_files

PORT = {"host_ip": "127.0.0.1", "published": 8080, "target": 80, "protocol": "tcp"}
WEB: dict[str, Any] = {"image": "image.web", "ports": [PORT]}
CASE: dict[str, Any] = {
    "desired": {
        "image.web": {},
        "container.db": {"image": "image.web", "healthcheck": {"interval": 5.0}},
        "container.web": {**WEB, "mem_limit": 2 << 20, "depends_on": {"container.db": "healthy"}},
        "volume.data": {},
    },
    "before": {
        "container.db": {"image": "image.web", "healthcheck": {"interval": 5.0}},
        "container.web": {**WEB, "mem_limit": 1 << 20, "depends_on": {"container.db": "healthy"}},
        "volume.data": {},
        "volume.old": {},
    },
    "recipes": {"image.web": ["FROM host", "COPY src/ /app | src/a=2"]},
    "recipes_before": {"image.web": ["FROM host", "COPY src/ /app | src/a=1"]},
}
UP = Running(90.0, 0, "", frozenset({("0.0.0.0", 80)}))


def written(spec: Spec, path: str) -> Location:
    """As if some fields stood on lines of their own."""
    line = {"image": 2, "mem_limit": 3, "depends_on": 4, "ports.80/tcp": 5, "command": 6, "healthcheck": 7}.get(path)
    return spec.location if line is None else Location(spec.location.file, line)


def said(
    address: str, running: dict[str, Running] | None = None, history: Any = (), **tables: Any
) -> dict[str, list[str]]:
    """topic → what is said."""
    case = {**CASE, **tables}
    desired, observation = case_files.desired(case), case_files.observation(case)
    points = of_resource(address, diff(desired, observation), desired, observation, running or {}, history, written)
    found: dict[str, list[str]] = {}
    for point in points:
        found.setdefault(point.topic, []).append(f"{point.text} [{point.place}]" if point.place else point.text)
    return found


def test_what_would_be_done_with_the_line_of_the_user_s() -> None:
    found = said("container.web", {"shop-web-1": UP})
    assert found["declared"] == ["container.web is declared [stack.py:1]"]
    assert found["plan"][0].startswith("an apply would have it replaced (")
    assert found["plan"][0].endswith("): its image changes [stack.py:2]")
    assert found["plan"][1] == "image.web would be built: step 2/2 COPY src/ /app: src/a differs [stack.py:1]"
    assert found["plan"][2].endswith("mem_limit 1 MiB → 2 MiB [stack.py:3]")
    assert said("volume.data")["plan"] == ["an apply would leave it as it is: nothing differs from the stack file"]


@pytest.mark.parametrize(
    ("replica", "running", "text"),
    [
        ({"status": "exited", "exit_code": 127, "ended": 65.0}, None,
         "shop-web-1 exited with 127 one minute ago: its command was not found [stack.py:6]"),
        ({"status": "exited", "exit_code": 137, "why": "out of memory"}, None,
         "shop-web-1 exited with 137: out of memory [stack.py:3]"),
        ({"status": "created"}, None, "shop-web-1 was created and never started"),
        ({"status": "paused"}, None, "shop-web-1 is paused: `stackpy unpause shop-web-1` has it go on"),
        ({"status": "restarting"}, Running(3.0, 4, "", None),
         "shop-web-1 is restarting, for three seconds, after 4 restarts"),
        ({"status": "running"}, Running(0.2, 0, "", None), "shop-web-1 is running, since just now"),
    ],
)  # fmt: skip
def test_how_it_is(replica: dict[str, Any], running: Running | None, text: str) -> None:
    tables = {"replicas": {"container.web": [{"index": 1, **replica}]}}
    found = said("container.web", {} if running is None else {"shop-web-1": running}, **tables)
    assert found["state"] == [text]


@pytest.mark.parametrize(
    ("listening", "text"),
    [
        (frozenset({("0.0.0.0", 80)}), "127.0.0.1:8080 reaches shop-web-1, which listens on 80"),
        (
            frozenset({("127.0.0.1", 80)}),
            (
                "127.0.0.1:8080 is not answered: in shop-web-1, port 80 is open on 127.0.0.1 alone; "
                "let it listen on 0.0.0.0 [stack.py:5]"
            ),
        ),
        (
            frozenset({("0.0.0.0", 8000)}),
            "127.0.0.1:8080 is not answered: nothing in shop-web-1 listens on 80; it listens on 8000 [stack.py:5]",
        ),
        (
            frozenset[tuple[str, int]](),
            "127.0.0.1:8080 is not answered: nothing in shop-web-1 listens on 80; it listens on no port [stack.py:5]",
        ),
    ],
)
def test_why_a_port_is_not_answered(listening: frozenset[tuple[str, int]], text: str) -> None:
    assert said("container.web", {"shop-web-1": UP._replace(listening=listening)})["port"] == [text]


def test_a_port_of_what_does_not_run_and_of_what_cannot_be_seen() -> None:
    assert said("container.web")["port"] == [
        "127.0.0.1:8080 does not reach shop-web-1, which does not run [stack.py:5]"
    ]
    assert "port" not in said("container.web", {"shop-web-1": UP._replace(listening=None)})


def test_an_unhealthy_one_names_its_check() -> None:
    tables: dict[str, Any] = {
        "replicas": {"container.web": [{"index": 1, "status": "running", "health": "unhealthy"}]},
        "desired": {**CASE["desired"], "container.web": {**WEB, "healthcheck": {"interval": 5.0}}},
    }
    assert said("container.web", {"shop-web-1": UP._replace(check="no (exit 1)")}, **tables)["health"] == [
        "shop-web-1 is unhealthy: its health check fails: no (exit 1) [stack.py:7]"
    ]


def test_every_action_has_its_verb_and_what_stands_against_it_is_told() -> None:
    desired, observation = case_files.desired(CASE), case_files.observation(CASE)
    actions = [action for action in vars(Action).values() if isinstance(action, Action)]
    reason = (Reason("state", None, None, "x"),)
    plan = Plan(
        "shop",
        "embedded",
        2,
        tuple(Change("container.web", action, reason) for action in actions),
        refusals=(Refusal("container.web", "it is protected", "let it be"), Refusal("container.db", "no")),
        verdicts=(Verdict("small", "deny", "container.web", "is big", "stack.py:9"),),
    )
    points = of_resource("container.web", plan, desired, observation, {}, ())
    texts = [point.text for point in points if point.topic == "plan"]
    assert len(texts) == len(actions) + 2
    assert texts[-2:] == [
        "an apply would refuse that: it is protected; let it be", "the policy small denies: is big"
    ]  # fmt: skip


def test_what_it_waits_for() -> None:
    down = {"replicas": {"container.db": [{"index": 1, "status": "exited", "exit_code": 1}]}}
    assert said("container.web", **down)["waits"] == [
        "it waits until container.db is healthy: shop-db-1 is exited [stack.py:4]"
    ]
    assert "waits" not in said("container.web")


def test_why_it_is_kept() -> None:
    assert said("volume.old")["declared"] == ["volume.old is not declared any more; it exists on the engine"]
    assert said("volume.old")["kept"] == [
        (
            "it is kept, though the stack file does not declare it any more: "
            "data is deleted by `destroy --volumes` and `volume rm` alone"
        )
    ]
    assert said("image.web")["kept"] == ["it is used by container.db, container.web"]


def test_what_generations_did() -> None:
    def generation(number: int, result: str, **more: Any) -> dict[str, Any]:
        change = {"address": "container.web", "action": "replace", "result": result, "reasons": [{"text": "a → b"}]}
        return {"generation": number, "time": "T", "changes": [change], **more}

    history = [
        generation(5, "failed", failures={"container.web": "it died"}),
        {"generation": 4, "changes": [{"address": "container.db"}]},
        generation(3, "done"),
        generation(2, "done"),
    ]
    assert said("container.web", history=history)["history"] == [
        "generation 5, T: replace failed: a → b; it died",
        "generation 3, T: replace: a → b",
    ]


ROW = {"name": "shop-web-1", "stack": "shop", "resource": "container.web", "host_ip": "127.0.0.1", "target": 80}


def test_who_has_a_port() -> None:
    def texts(*arguments: Any) -> list[str]:
        return [point.text for point in of_port(8080, "tcp", *arguments)]

    assert texts([{**ROW, "state": "running"}], [], []) == [
        "127.0.0.1:8080/tcp is published by shop-web-1 (container.web of stack shop), port 80 in it"
    ]
    assert texts(
        [{**ROW, "state": "exited"}], ["process 7 (nginx)"], [("container.web", "127.0.0.1", "stack.py:5")]
    ) == [
        "127.0.0.1:8080/tcp belongs to shop-web-1 (container.web of stack shop), port 80 in it, which is exited",
        "8080/tcp is held by process 7 (nginx)",
        "container.web publishes 127.0.0.1:8080/tcp",
    ]
    assert texts([{**ROW, "state": "exited"}], [], [])[0].endswith(
        "port 80 in it, which is exited: nothing holds it now"
    )
    assert texts([], [], []) == ["nothing holds port 8080/tcp, and the stack here does not publish it"]


def test_what_is_on_the_disk() -> None:
    image = {"id": f"sha256:{'1' * 64}", "references": ["web:latest"], "containers": ["shop-web-1"], "history": False}
    keeping = {
        "digest": "ab" * 32,
        "what": ["layer"],
        "size": 2048,
        "images": [image],
        "steps": ["shop/image.web 2/2 RUN x"],
    }
    assert [point.text for point in of_blob(keeping)] == [
        "sha256:abababababab is a layer, 2 KiB on disk",
        "image sha256:111111111111 (web:latest) needs it; made of it: shop-web-1",
        "it is the result of shop/image.web 2/2 RUN x",
    ]
    cached = of_blob({**keeping, "images": []})
    assert cached[-1].text == "the build cache keeps it: `stackpy builder prune` frees it"
    loose = of_blob({**keeping, "images": [], "steps": []})
    assert loose[-1].text == "nothing refers to it: it goes with the next collection of garbage"
    nameless = of_blob({**keeping, "images": [{**image, "references": [], "containers": []}]})
    assert nameless[1].text == "image sha256:111111111111 (has no name) needs it: `stackpy image prune` removes it"


def test_sockets_that_listen_are_found_with_their_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert ("127.0.0.1", port) in (sockets.listening() or ())
        assert any(f"process {os.getpid()} (" in text for text in sockets.holders(port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        assert ("127.0.0.1", datagrams.getsockname()[1]) in (sockets.listening(protocol="udp") or ())
