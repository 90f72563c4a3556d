"""Containers of an external OCI runtime (`runtime="crun"`): what of the engine is handed over, and taken back."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

from stackpy_runtime.container import bundling, confinement, handing_over, runtimes, seccomp
from stackpy_runtime.container.cgroups import CONTROLLERS
from stackpy_runtime.errors import EngineError
from stackpy_runtime.linux.seccomp import act_errno
from stackpy_runtime.oci import groups

if TYPE_CHECKING:
    from stackpy_runtime.container.joining import JoinPlan
    from stackpy_runtime.container.plan import HandedTo, SandboxPlan
    from stackpy_runtime.host.live import Live
    from stackpy_runtime.store.root import Root


def runtime_of(root: Root, live: Live) -> HandedTo | None:
    """The runtime that a container is handed over to; None for the engine's own sandbox. NotFound when it is gone."""
    name = live.config.get("runtime", runtimes.OWN)
    if name == runtimes.OWN:
        return None
    return {"program": runtimes.resolve(name), "root": f"{root.run}/oci", "id": live.id}


def arrange(root: Root, live: Live, sandbox: SandboxPlan) -> None:
    """Says in the plan whom the container is handed over to."""
    runtime = runtime_of(root, live)
    if runtime is None:
        return
    wanted, _ = confinement.filtered(live.config)
    if wanted:
        rules = seccomp.rules(confinement.capabilities(live.config))
        runtime["seccomp"] = bundling.filter_document(act_errno(errno.ENOSYS), rules, None)
    sandbox["handed_to"] = runtime
    # What is left of another run, which our processes have not seen the end of.
    handing_over.delete(runtime)


def arrange_join(root: Root, live: Live, joining: JoinPlan) -> None:
    """The same for a process of exec."""
    runtime = runtime_of(root, live)
    if runtime is not None:
        joining["handed_to"] = runtime


def forget(root: Root, live: Live) -> None:
    """Has the runtime forget a container that has ended."""
    try:
        runtime = runtime_of(root, live)
        if runtime is not None:
            handing_over.delete(runtime)
            if live.group:
                _sweep(live.group.parent)
    except EngineError as error:
        print(f"container {live.name} is left to its runtime: {error}", file=sys.stderr)


def _sweep(parent: str) -> None:
    """Removes what the runtime has made in hierarchies of version 1 that the engine itself does not use."""
    for hierarchy in groups.host().hierarchies:
        if hierarchy.names and not set(hierarchy.names) & set(CONTROLLERS):
            try:
                os.rmdir(f"{hierarchy.folder}/{parent}")
            except OSError:
                # Another container's is in it, or it is none of ours.
                pass
