"""What of a container changes while it runs, besides its limits: networks, ports, health check, log.

`before` makes true on the host what a new configuration says, `after` what follows from its being recorded. Killed in
between, the old configuration stands, and the same change finds half of it made and makes the rest. Files and secrets
that a container sees are the client's to write (rewriting.py).
"""

from __future__ import annotations

from stackpy_runtime.container.logs import DEFAULT_MAX_FILE, DEFAULT_MAX_SIZE
from stackpy_runtime.host import creation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.host.live import Live
    from stackpy_runtime.host.networking import Networking
    from stackpy_runtime.model import ContainerConfig, PortBinding


def before(networking: Networking, live: Live, config: ContainerConfig) -> None:
    """Networks, ports and staged files as a new configuration has them. Raises EngineError; then the old one holds."""
    if config.get("files") != live.config.get("files"):
        creation.stage_files(config, live.folder)
    if not live.pid:
        return
    joined = config.get("networks") != live.config.get("networks")
    config["ports"] = settled(config.get("ports", []), live.config.get("ports", []))
    if not config["ports"]:
        del config["ports"]
    if joined:
        networking.join(live, config)
    if joined or config.get("ports") != live.config.get("ports"):
        networking.republish(live, config)


def settled(wanted: list[PortBinding], present: list[PortBinding]) -> list[PortBinding]:
    """The bindings with the ports that the engine has chosen before, where they leave the choice to it. Pure."""
    result: list[PortBinding] = []
    free = [binding for binding in present if binding not in wanted]
    for binding in wanted:
        if not binding["published"]:
            known = next((one for one in free if {**one, "published": 0} == binding), None)
            if known is not None:
                free.remove(known)
                binding = known
        result.append(binding)
    return result


def after(networking: Networking, live: Live) -> None:
    """What goes by the configuration that has just been recorded."""
    networking.rename(live)  # by its aliases, which may be others
    with live.changed:
        recorder, config = live.recorder, live.config
        if recorder is not None:
            recorder.max_size = config.get("log_max_size", DEFAULT_MAX_SIZE)
            recorder.max_file = config.get("log_max_file", DEFAULT_MAX_FILE)
            recorder.keep = config.get("log_driver") != "none"
            if recorder.journal:
                recorder.journal.close()
            recorder.journal = live.journal() if config.get("log_driver") == "journald" else None
