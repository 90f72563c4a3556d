"""RUN steps of a build: a container without a row in the store, whose upper folder becomes a layer.

It runs in the same sandbox as any container. When its client goes, so does the step.
"""

from __future__ import annotations

import os
import sys
import threading

from stackpy_runtime.container import plan, security, state
from stackpy_runtime.errors import EngineError
from stackpy_runtime.host.live import Live
from stackpy_runtime.host.skeleton import base, targets
from stackpy_runtime.host.wire import Closed
from stackpy_runtime.store import trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.host.lifecycle import Lifecycle
    from stackpy_runtime.host.wire import Connection
    from stackpy_runtime.model import Container, ContainerConfig


def _container(identity: str, arguments: dict[str, Any]) -> Container:
    config: ContainerConfig = {
        "name": f"step-{identity[:12]}",
        "image": "",
        "command": arguments["argv"],
        "entrypoint": [],
        "environment": arguments["environment"],
        "working_dir": arguments["working_dir"],
        "user": arguments["user"],
    }
    if arguments["network"] == "none":
        config["network_mode"] = "none"
    return {
        "id": identity,
        "name": config["name"],
        "created": "",
        "image_id": "",
        "config": config,
        "state": state.initial(),
        "networks": {},
    }


def run(
    lifecycle: Lifecycle, connection: Connection, arguments: dict[str, Any], descriptors: list[int]
) -> dict[str, Any]:
    """Runs one step and answers with its exit code. descriptors: where its output goes.

    arguments: layers (folders, bottom first), staged (folder with upper/ and work/), argv, environment, working_dir,
    user, caches (host folder, target), network.
    """
    identity = os.urandom(32).hex()
    root = lifecycle.store.root
    live = Live(root.path, _container(identity, arguments))
    for name in ("etc", "files"):
        os.makedirs(f"{live.folder}/{name}", mode=0o755)
    with lifecycle.lock:
        lifecycle.lives[identity] = live
    try:
        sandbox = _plan(lifecycle, live, arguments)
        lifecycle.launch_step(live, sandbox, descriptors[0])
        threading.Thread(target=_end_with_client, args=(connection, live), daemon=True).start()
        live.wait_until(lambda: not live.pid)
        code = live.state["exit_code"]
        if code is None:
            raise EngineError("the step's exit code is not known")
        return {"exit_code": code, "oom_killed": live.state["oom_killed"]}
    finally:
        with lifecycle.lock:
            lifecycle.lives.pop(identity, None)
        try:
            trees.remove(live.folder)
        except EngineError as error:
            print(f"the folder of a build step is left for the next start: {error}", file=sys.stderr)


def _end_with_client(connection: Connection, live: Live) -> None:
    """Kills the step when its client goes; the client sends nothing meanwhile."""
    import select

    line = select.poll()
    line.register(connection.fileno(), select.POLLIN)
    while live.pid:
        if line.poll(500) and live.pid:
            try:
                connection.receive()
            except (Closed, OSError):
                live.signal(9)
            return


def _plan(lifecycle: Lifecycle, live: Live, arguments: dict[str, Any]) -> plan.SandboxPlan:
    root = lifecycle.store.root
    capabilities = security.capabilities([], [])
    mounts: list[plan.MountPlan] = [
        {
            "kind": "volume",
            "source": source,
            "target": plan.check_target(target),
            "read_only": False,
            "ids": "container",
            "options": {},
            "fill": False,
        }
        for source, target in arguments["caches"]
    ]
    hostname = "build"
    return {
        "name": live.name,
        "lowers": [base(root), *targets(live.folder, mounts), *arguments["layers"]],
        "writable": arguments["staged"],
        "hostname": hostname,
        "network": "own",
        "read_only": False,
        "volatile": True,
        "mounts": mounts,
        "files": [],
        "secrets": [],
        "etc": lifecycle.networking.write_etc(live, hostname),
        "cgroup_view": {},
        "masked": list(security.MASKED_PATHS),
        "locked": list(security.READ_ONLY_PATHS),
        "scratch": f"{root.run}/mnt",
        "process": {
            "argv": arguments["argv"],
            "environment": {"PATH": plan.DEFAULT_PATH, **arguments["environment"]},
            "working_dir": arguments["working_dir"] or "/",
            "user": arguments["user"],
            "capabilities": sorted(capabilities),
            "tty": False,
            "filter": lifecycle.filter(capabilities),
        },
    }
