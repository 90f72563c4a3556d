"""What earlier versions of stackpy have noted on the engine is no change to this one.

tests/unit/noted/N.json is a stack file with what the first version of form N noted when it applied it: a file that is
there never changes. With a new form comes a new file, made by `python -m tests.unit.test_engines_schema`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from stackpy.dsl.specs import StackSpec, engine_name
from stackpy.engines import labels, observation, schema
from stackpy.engines.translation import container_config, resource_labels
from stackpy.errors import StackpyError
from stackpy.planning import Desired, Observation, Recipe, RecipeStep, diff
from stackpy.project import load

FOLDER = Path(__file__).parent / "noted"
STATE = {"status": "running", "health": "", "exit_code": None, "finished_at": "", "pid": 1}
STACK = """
from stackpy import Container, File, HealthCheck, Image, Job, Network, Secret, Volume, moved
image = Image.scratch().cmd(["sleep", "1000"])
back = Network("back", internal=True, labels={"tag": "x"}, protect=True)
named = Network("named", subnet="10.213.77.0/24", ignore_changes=["labels"])
data = Volume("data", labels={"tag": "x"})
password = Secret("password", env="HOME", protect=True)
migrate = Job("migrate", image=image, command="cat /run/secrets/password", secrets=[password], networks=[back])
Container(
    "web", image=image, command=["sleep", "500"], entrypoint=[], environment={"MODE": "x", "EMPTY": ""},
    labels=["tier=front"], working_dir="/tmp", user="65534:65534", hostname="webhost", stop_signal="SIGINT",
    restart="on-failure:3", mem_limit="64m", memswap_limit="1g", mem_reservation="32m", cpus="0.5", cpu_shares=300,
    cpuset="0", pids_limit=50, blkio_config={"weight": 300}, networks={back: {"aliases": ["w"]}, named: None},
    ports=["127.0.0.1:8080:80", "8053:53/udp", 9000], volumes={data: "/data", "/tmp": "/stack:ro"},
    tmpfs=["/scratch:size=64m,mode=1777"], files={"/etc/app": "text", "/etc/b": File(content="b", on_change="SIGHUP")},
    secrets=[{"source": password, "target": "key", "on_change": "restart"}], read_only=True, cap_drop=["ALL"],
    cap_add=["net_bind_service"], stop_grace_period="1m30s", replicas=2, shm_size="128m", init=True, domainname="d.t",
    ulimits={"nofile": 1024, "core": {"soft": 0, "hard": -1}}, sysctls={"net.core.somaxconn": 100}, group_add=["5"],
    oom_score_adj=5, extra_hosts=["db:10.0.0.7"], dns="1.1.1.1", dns_search=["a.test"], dns_opt=["ndots:2"],
    annotations={"a": "b"}, devices=["/dev/null:/dev/x:r"], security_opt=["seccomp=unconfined"], userns="auto",
    healthcheck=HealthCheck(http="http://localhost/up", interval="1.5s"), protect=True, ignore_changes=["mem_limit"],
    logging={"max_size": "1m", "max_file": 2, "tag": "{{.Name}}"}, on_unhealthy="restart",
    depends_on={"migrate": {"condition": "service_completed_successfully", "restart": True}},
    pre_start=["true"], post_start=[{"command": "true", "environment": ["A=1"]}], pre_stop=[{"command": ["true"]}],
)
Container("plain", image=image, tty=True, stdin_open=True, healthcheck={"disable": True}, ipc="shareable")
Container("beside", image=image, network_mode="service:plain", logging={"driver": "none"}, privileged=True)
"""


def loaded(text: str) -> StackSpec:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "stack.py").write_text(text)
        return load(folder=folder, name="shop").stack


def recipes(stack: StackSpec) -> dict[str, Recipe]:
    return {address: Recipe("r", (RecipeStep("s", "t", "", {}),)) for address in stack.resources if "image." in address}


def noted(stack: StackSpec) -> dict[str, Any]:
    """The documents of an engine to which the stack was applied."""
    found: dict[str, Any] = {"containers": [], "network": [], "volume": [], "secret": []}
    fingerprints = {address: "f" for address in stack.resources if address.startswith("secret.")}
    for spec in stack.resources.values():
        if spec.kind in ("container", "job"):
            for index in range(1, int(spec.fields.get("replicas", 1)) + 1):
                config = container_config(
                    stack.name, spec, index, image="i", recipe="r", generation=1, fingerprints=fingerprints
                )
                found["containers"].append({"name": config["name"], "config": config})
        elif spec.kind != "image":
            name = engine_name(stack.name, spec.kind, spec.name)
            own = {
                "internal": spec.fields.get("internal", False),
                "subnet": spec.fields.get("subnet", "10.1.0.0/20"),
                "labels": resource_labels(stack.name, spec, 1),
            }
            found[spec.kind].append({"name": name, "fingerprint": "f", "available": True, **own})
    return found


def observed(documents: dict[str, Any], images: dict[str, Recipe]) -> Observation:
    containers = [
        {
            "id": f"id-{each['name']}",
            "image_id": "i",
            "networks": {},
            "state": {**STATE, "status": "exited", "exit_code": 0} if "migrate" in each["name"] else STATE,
            **each,
        }
        for each in documents["containers"]
    ]
    resources = observation.resources(
        "shop",
        containers=containers,
        networks=documents["network"],
        volumes=documents["volume"],
        secrets=documents["secret"],
        image_recipes={},
        now=0.0,
    )
    return Observation("shop", "embedded", 1, resources, images, frozenset(["s"]), {})


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_what_was_noted_is_no_change(path: Path) -> None:
    kept = json.loads(path.read_text())
    stack = loaded(kept["stack"])
    fingerprints = {address: "f" for address in stack.resources if address.startswith("secret.")}
    images = recipes(stack)
    plan = diff(Desired(stack, images, fingerprints), observed(kept["documents"], images))
    assert [(change.address, [reason.text for reason in change.reasons]) for change in plan.changes] == []


def test_there_is_a_file_of_each_form() -> None:
    assert sorted(int(path.stem) for path in FOLDER.glob("*.json")) == list(range(1, schema.VERSION + 1))


def test_an_older_form_is_read_as_the_present_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "VERSION", 3)
    monkeypatch.setattr(
        schema,
        "MIGRATIONS",
        {
            1: lambda kind, fields: {("memory" if key == "mem" else key): value for key, value in fields.items()},
            2: lambda kind, fields: {**fields, "kind": kind},
        },
    )
    own = {labels.RESOURCE: "container.web", labels.SPEC: '{"mem": 5}'}
    assert labels.applied(own) == {"memory": 5, "kind": "container"}
    assert labels.applied({**own, labels.SCHEMA: "2"}) == {"mem": 5, "kind": "container"}
    assert labels.applied({**own, labels.SCHEMA: "3"}) == {"mem": 5}
    with pytest.raises(StackpyError, match="a newer version of stackpy has applied this stack"):
        labels.applied({**own, labels.SCHEMA: "4"})


if __name__ == "__main__":
    file = FOLDER / f"{schema.VERSION}.json"
    text = json.dumps({"stack": STACK, "documents": noted(loaded(STACK))}, indent=1, sort_keys=True)
    with file.open("x") as out:
        out.write(text + "\n")
