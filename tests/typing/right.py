"""Every field of the DSL in the forms that it takes: mypy finds nothing here, so that an editor does not either."""

from __future__ import annotations

from stackpy import (
    BuildMount,
    Component,
    Container,
    File,
    HealthCheck,
    Image,
    Job,
    Network,
    Output,
    Secret,
    Stack,
    StackRef,
    Update,
    Volume,
    component,
    moved,
    policy,
    template,
    var,
)
from stackpy.dsl.policies import PlanView, ResourceView
from stackpy.policies import no_privileged_containers, no_unpinned_images
from stackpy.testing import load_stack

Stack("shop", policies=[no_privileged_containers, no_unpinned_images.at("warn")])
count: int = var("count", default=2)
name: str = var("name")
maybe: str | None = var("maybe", default=None)
ratio: float = var("ratio", type=float)

image = (
    Image("python:3.12-slim")
    .workdir("/app")
    .env(MODE="x")
    .copy("a", "b", "/app/", exclude=["*.pyc"], chown="1:1")
    .run("pip install -r requirements.txt", cache="/root/.cache/pip")
    .run(["make"], mounts=[BuildMount.cache("/cache")])
    .user("app")
    .expose(80)
    .label(version="1")
    .entrypoint(["python"])
    .cmd("app.py")
    .tag("shop/app:1")
)
host: Image = Image.host("sh", "python3")
empty: Image = Image.scratch()
built: Image = Image.dockerfile("context", file="Dockerfile", target="app", args={"VERSION": "1"})

back = Network("back", internal=True, labels={"a": "b"})
data = Volume("data", labels=["a=b"])
key = Secret("key", env="KEY")
path: str = key.path
migrate = Job("migrate", image=image, command="migrate", networks=[back], secrets=[key], pull_policy="always")

web = Container(
    "web",
    image=image,
    command=["serve"],
    entrypoint="app",
    environment={"A": 1, "B": True, "C": None, "D": 1.5},
    env_file=["a.env", {"path": "b.env", "required": False}],
    labels=["a=b"],
    label_file="labels",
    working_dir="/app",
    user=1000,
    hostname="web",
    stop_signal="SIGINT",
    stop_grace_period=1.5,
    mem_limit="256m",
    cpus=0.5,
    pids_limit=100,
    memswap_limit=-1,
    mem_reservation="128m",
    mem_swappiness=10,
    oom_kill_disable=False,
    oom_score_adj=100,
    cpu_shares=512,
    cpu_period="100ms",
    cpu_quota=50000,
    cpu_rt_period=1000,
    cpu_rt_runtime=950,
    cpuset="0-1",
    blkio_config={"weight": 300},
    shm_size="64m",
    ulimits={"nofile": {"soft": 1, "hard": 2}, "nproc": 3},
    sysctls={"net.core.somaxconn": 1024},
    init=True,
    group_add=["audio", 7],
    domainname="example.com",
    extra_hosts={"a": "10.0.0.1"},
    dns=["1.1.1.1"],
    dns_search="example.com",
    dns_opt=["ndots:2"],
    annotations={"a": "b"},
    cgroup_parent="/x",
    runtime="runc",
    cgroup="private",
    storage_opt={"size": "1g"},
    networks={back: {"aliases": ["www"], "ipv4_address": "10.5.0.9", "gw_priority": 1}, "default": None},
    network_mode=None,
    volumes={data: "/data", "./src": "/src:ro"},
    tmpfs=["/tmp:size=64m"],
    secrets=[key, {"source": "key", "target": "other"}],
    files={"/etc/a": "text", "/etc/b": template("b.j2", workers=2), "/etc/c": File("c", mode=0o600)},
    depends_on=[migrate.completed, "db"],
    read_only=True,
    tty=False,
    stdin_open=False,
    cap_add=["NET_ADMIN"],
    cap_drop=["ALL"],
    privileged=False,
    security_opt=["no-new-privileges=true"],
    devices=["/dev/fuse"],
    device_cgroup_rules=["c 1:3 r"],
    userns="host",
    pid="host",
    ipc="shareable",
    uts="host",
    learn=False,
    logging={"max_size": "1m"},
    pull_policy="missing",
    platform="linux/arm64",
    pre_start=["true"],
    post_start=[{"command": "true"}],
    pre_stop=[["true", "1"]],
    restart="always",
    ports=["8080:80", 443, {"target": 53, "protocol": "udp"}],
    replicas=count,
    healthcheck=HealthCheck(["true"], interval=1, timeout="1.5s", retries=3),
    on_unhealthy="restart",
    update=Update(order="start-first", parallelism=2, failure_action="rollback"),
    protect=True,
    ignore_changes=["environment"],
)
moved(old="container.old", new="container.web")
address: str = web.address
Container("probed", image=host, depends_on={web: {"condition": "service_healthy", "restart": True}},
          healthcheck=HealthCheck(http="http://localhost/up", status=200))  # fmt: skip
Output("url", f"http://localhost:{web.port(80)}/{web.ip(back, replica=2)}")
Output("db", StackRef("db").output("url", default=None))


class Postgres(Component):
    """A database."""

    def __init__(self, name: str, *, version: str = "16") -> None:
        super().__init__(name)
        with self:
            self.server = Container("server", image=f"postgres:{version}", volumes={Volume("data"): "/data"})


@component
def cache(name: str, *, memory: str = "64m") -> Container:
    """A cache that forgets."""
    return Container("server", image="redis:7", mem_limit=memory)


server: Container = Postgres("db", version="17").server
fast: Container = cache("cache", memory="1g")


@policy
def limited(plan: PlanView) -> list[tuple[ResourceView, str]]:
    """Everything has a limit."""
    return [(each, "has no mem_limit") for each in plan.containers if "mem_limit" not in each]


@policy(level="warn", name="few")
def few(plan: PlanView) -> str | None:
    """Not too many."""
    return "too many" if len(plan.doing("create")) > 9 else None


replicas: object = load_stack(sets={"count": 3})["container.web"]["replicas"]
doing: list[str] = load_stack().plan(after=load_stack()).doing("replace")

Container(
    "long",
    image=host,
    env_file={"path": "a.env", "format": "raw", "required": True},
    healthcheck={"test": ["CMD", "true"], "interval": "1s", "timeout": 1, "start_period": 1.5, "retries": 2},
    update={"order": "stop-first", "delay": "1s", "max_failure_ratio": 0.5},
    ports=[{"target": 80, "published": "8080", "host_ip": "127.0.0.1", "protocol": "tcp"}],
    volumes=[
        {"type": "bind", "source": "./a", "target": "/a", "read_only": True, "bind": {"propagation": "rslave"}},
        {"type": "volume", "source": data, "target": "/b", "volume": {"nocopy": True}},
        {"type": "tmpfs", "target": "/c", "tmpfs": {"size": "64m", "mode": 0o1777}},
        "./d:/d",
    ],
    secrets=[key, {"source": key, "target": "other", "on_change": "SIGHUP"}],
    post_start=["true", {"command": ["chown", "a"], "user": "root", "environment": {"A": 1}}],
    devices=["/dev/fuse", {"source": "/dev/null", "target": "/dev/nothing", "permissions": "r"}],
    ulimits={"nofile": 1024, "core": {"soft": 0, "hard": -1}},
    blkio_config={"weight": 300, "device_read_bps": [{"path": "/dev/sda", "rate": "12mb"}]},
    logging={"driver": "local", "options": {"max-size": "1m", "max_file": 2}},
)
