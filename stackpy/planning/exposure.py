"""What people should know before they agree: which ports are reachable from where, which files keep their owners."""

from __future__ import annotations

from stackpy.dsl.specs import implied_users
from stackpy.planning.contents import untold
from stackpy.planning.plan import Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from stackpy.dsl.specs import Spec
    from stackpy.planning.draft import Draft
    from stackpy.planning.plan import Recipe

_HTTP = frozenset({80, 3000, 4000, 5000, 8000, 8080, 8081, 8888, 9000})
_HTTPS = frozenset({443, 8443})
# the fields by which a container comes to be in the host's user namespace
_USERS = ("userns", "privileged", "pid", "ipc", "device_cgroup_rules", "network_mode", "cap_add")
_OPENING = {
    "seccomp=unconfined": "seccomp=unconfined: no system call is refused",
    "no-new-privileges=false": "no-new-privileges=false: set-id programs of its image add rights",
    "systempaths=unconfined": "systempaths=unconfined: nothing of /proc and /sys is hidden",
}
# by which a RUN step comes to have what is the host's
_HOSTS = (
    ("security", "insecure", "security=insecure: root of the step is root of the host"),
    ("network", "host", "network=host: the step uses the host's network"),
)
_CHANGING = (Action.REPLACE, Action.UPDATE, Action.RESTART)
_SHOWING = (Action.CREATE, Action.RUN, *_CHANGING)
_EVERYWHERE = frozenset({"0.0.0.0", "::", "*"})


def notes(draft: Draft, spec: Spec) -> Iterable[str]:
    """Notes on a container that is created, or gets other ports or mounts."""
    if draft.action is Action.UPDATE and (paths := untold(spec.fields, draft.reasons)):
        told = ", ".join(paths)
        yield f"{spec.address}: its process is not told of {told}: `on_change` sends a signal or restarts it"
    if spec.kind not in ("container", "job") or draft.action not in _SHOWING:
        return
    if _is_new(draft, "ports"):
        for port in spec.fields.get("ports", ()):
            yield f"{spec.address}: {_reachable(port, spec)}"
    if _is_new(draft, "network_mode") and spec.fields.get("network_mode") == "host":
        yield f"{spec.address}: uses the host's network: whatever it listens on is reachable as on the host itself"
    implied = implied_users(spec.fields)
    if (implied or spec.fields.get("userns") == "host") and any(_is_new(draft, field) for field in _USERS):
        why = f'{implied} implies userns="host"' if implied else 'userns="host"'
        yield f"{spec.address}: {why}: root inside is root of the host"
    if _is_new(draft, "learn") and spec.fields.get("learn"):
        yield f"{spec.address}: learn: each system call is noted, which makes it many times slower"
    if _is_new(draft, "security_opt"):
        for option in spec.fields.get("security_opt", ()):
            if option in _OPENING:
                yield f"{spec.address}: {_OPENING[option]}"
    if _is_new(draft, "volumes"):
        for mount in spec.fields.get("volumes", ()):
            if mount["type"] == "bind" and mount.get("owner") == "plain":
                yield f'{spec.address}: {mount["source"]} keeps its owners (owner="plain"): root inside is root outside'


def of_steps(address: str, recipe: Recipe, built: frozenset[str]) -> Iterable[str]:
    """Notes on the RUN steps of an image that are to run with what is the host's."""
    for each in (recipe, *recipe.stages.values()):
        for step in each.steps:
            if step.id in built:
                continue
            for name, value, what in _HOSTS:
                # a COPY may take a file of such a name
                if step.inputs.get(name) == value and step.text.startswith("RUN "):
                    yield f"{address}: {step.line}: {what}"


def _is_new(draft: Draft, field: str) -> bool:
    if draft.action not in _CHANGING:
        return not any(reason.path == "replicas" for reason in draft.reasons)
    return any(reason.path.partition(".")[0] == field for reason in draft.reasons)


def _reachable(port: dict[str, object], spec: Spec) -> str:
    host, published, target = str(port.get("host_ip") or "127.0.0.1"), port.get("published"), port["target"]
    protocol = port.get("protocol") or "tcp"
    place = f"[{host}]:{published or '(any free port)'}" if ":" in host else f"{host}:{published or '(any free port)'}"
    if protocol != "tcp":
        place += f"/{protocol}"
    if host in _EVERYWHERE:
        return f"{place} reachable from the network"
    if not host.startswith("127.") and host != "::1":
        return f"{place} reachable from the network of that address"
    scheme = "" if protocol != "tcp" else _scheme(target, spec)
    return f"{scheme}{place} (this host only)"


def _scheme(target: object, spec: Spec) -> str:
    if target in _HTTPS:
        return "https://"
    probed = "http" in (spec.fields.get("healthcheck") or {})
    return "http://" if probed or target in _HTTP else ""
