"""RUN steps of a build: a container without a row in the store, whose upper folder becomes a layer.

It runs in the same sandbox as any container. When its client goes, so does the step.
"""

from __future__ import annotations

import binascii
import os
import sys
import threading

from stackpy_runtime.container import confinement, masks, plan, state
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
    from stackpy_runtime.model import Container, ContainerConfig, StepMount


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
    config.update(arguments["surroundings"])
    if arguments["network"] != "default":
        config["network_mode"] = arguments["network"]
    if arguments.get("insecure"):
        config["privileged"] = True
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
    """Runs one step and answers with its exit code.

    descriptors: where its output goes, and with `identity` what it reads
    arguments: those of StepRun; with `identity`, which is to be its ID, it is told when it runs, so that more can be
        started in it
    """
    identity = arguments.get("identity") or os.urandom(32).hex()
    root = lifecycle.store.root
    live = Live(root.path, _container(identity, arguments))
    for name in ("etc", "files"):
        os.makedirs(f"{live.folder}/{name}", mode=0o755)
    with lifecycle.lock:
        lifecycle.lives[identity] = live
    try:
        sandbox = _plan(lifecycle, live, arguments)
        lifecycle.launch_step(live, sandbox, descriptors[0], descriptors[1] if len(descriptors) > 1 else -1)
        if arguments.get("identity"):
            connection.send({"running": True})
        threading.Thread(target=_end_with_client, args=(connection, live), daemon=True).start()
        live.wait_until(lambda: not live.pid)
        code = live.state["exit_code"]
        if code is None:
            raise EngineError("the step's exit code is not known")
        return {"exit_code": code, "oom_killed": live.state["oom_killed"]}
    except EngineError as error:
        # People know the step by what it says and where it stands, which the build adds.
        if error.subject == f"container {live.name}":
            error.subject = ""
        raise
    finally:
        with lifecycle.lock:
            lifecycle.lives.pop(identity, None)
        try:
            trees.remove(live.folder)
        except EngineError as error:
            print(f"the folder of a build step is left for the next start: {error}", file=sys.stderr)


def running(lifecycle: Lifecycle, identity: str) -> Live | None:
    """The step that runs under an ID which its client gave; None for containers, whose row in the store counts."""
    with lifecycle.lock:
        live = lifecycle.lives.get(identity)
    return live if live is not None and not live.container["image_id"] else None


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


def _mount(mount: StepMount, aside: str) -> plan.MountPlan:
    """A step's mount as the sandbox makes it. aside: where what is written to `layers` goes, until the step ends"""
    kind = mount["kind"]
    target = plan.check_target(mount["target"])
    result: plan.MountPlan = {
        "kind": "tmpfs",
        "source": mount.get("source", ""),
        "target": target,
        "read_only": mount["read_only"],
        "ids": "container",
        "options": {},
        "fill": False,
        "file": mount["file"],
    }
    if kind == "tmpfs":
        result["options"] = {"mode": "1777", **({"size": str(mount["size"])} if "size" in mount else {})}
    elif kind == "memory":
        result |= {
            "kind": "memory",
            "content": binascii.b2a_base64(mount["content"], newline=False).decode(),
            "owner": [mount.get("uid", 0), mount.get("gid", 0)],
            "mode": mount.get("mode", 0o400),
            "executable": mount.get("executable", False),
        }
    elif kind == "layers":
        for name in ("upper", "work"):
            os.makedirs(f"{aside}/{name}", mode=0o755)
        result |= {"kind": "layers", "source": aside, "lowers": mount["layers"], "within": mount["within"]}
    elif kind == "folder":
        result |= {"kind": "part", "within": mount.get("within", ".")}
    else:
        result["kind"] = "socket"
    return result


def _plan(lifecycle: Lifecycle, live: Live, arguments: dict[str, Any]) -> plan.SandboxPlan:
    root = lifecycle.store.root
    config = live.config
    capabilities = confinement.capabilities(config)
    mounts = [_mount(mount, f"{live.folder}/mounts/{index}") for index, mount in enumerate(arguments["mounts"])]
    hostname = "build"
    result: plan.SandboxPlan = {
        "name": live.name,
        "lowers": [base(root), *targets(live.folder, mounts), *arguments["layers"]],
        "writable": arguments["staged"],
        "hostname": hostname,
        "network": "host" if arguments["network"] == "host" else "own",
        "read_only": False,
        "volatile": True,
        "mounts": mounts,
        "files": [],
        "secrets": [],
        "etc": lifecycle.networking.write_etc(live, hostname),
        "cgroup_view": {},
        "masked": masks.masked_paths(),
        "locked": list(masks.READ_ONLY_PATHS),
        "scratch": f"{root.run}/mnt",
        "process": {
            "argv": arguments["argv"],
            "environment": {"PATH": plan.DEFAULT_PATH, **arguments["environment"]},
            "working_dir": arguments["working_dir"] or "/",
            "user": arguments["user"],
            "capabilities": sorted(capabilities),
            "tty": False,
            "filter": lifecycle.beginnings.filter_of(config),
        },
    }
    if not confinement.is_plain(config):
        from stackpy_runtime.host import confining

        confinement.grant(config, result["process"])
        confining.arrange(lifecycle.store, live, result)
    if "shm_size" in config:
        result["shm_size"] = config["shm_size"]
    if "ulimits" in config:
        result["process"]["ulimits"] = config["ulimits"]
    return result
