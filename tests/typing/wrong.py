"""Mistakes that mypy, and so an editor, must find: an ignore that is not needed is itself an error of `make lint`."""

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
from stackpy.testing import load_stack

image = Image.host("sh")
web = Container("web", image=image)

Container("a", image=image, mem_limits="64m")  # type: ignore[call-arg]
Container("a", image=image, replicas="two")  # type: ignore[arg-type]
Container("a", image=image, environment=7)  # type: ignore[arg-type]
Container("a", image=image, ports="8080:80", privileged="yes")  # type: ignore[arg-type]
Container(image=image)  # type: ignore[call-arg]
Container("a", image=web)  # type: ignore[arg-type]
Job("a", image=image, ports=["80"])  # type: ignore[call-arg]
Job("a", image=image, replicas=2)  # type: ignore[call-arg]
Network("a", internal="yes")  # type: ignore[arg-type]
Volume("a", driver="local")  # type: ignore[call-arg]
Secret("a", environment="A")  # type: ignore[call-arg]
Output("a")  # type: ignore[call-arg]
Stack("a", policies=["no_privileged"])  # type: ignore[list-item]
HealthCheck(["true"], intervall=1)  # type: ignore[call-arg]
Image("a").copy(7)  # type: ignore[arg-type]
Image("a").workdirectory("/app")  # type: ignore[attr-defined]
Image("a").run("make", network="hots")  # type: ignore[arg-type]
Update(order="start-frist")  # type: ignore[arg-type]
Update(failure_action="stop")  # type: ignore[arg-type]
Container("a", image=image, update=Update(parallelism="2"))  # type: ignore[arg-type]
Container("a", image=image, on_unhealthy="kill")  # type: ignore[arg-type]
Container("a", image=image, userns="hots")  # type: ignore[arg-type]
Container("a", image=image, depends_on=[image])  # type: ignore[list-item]
Volume("a", snapshot="yes")  # type: ignore[arg-type]
File("a", mod=0o600)  # type: ignore[call-arg]
BuildMount.cache("/cache", sharing="lock")  # type: ignore[arg-type]
moved(old="container.a")  # type: ignore[call-arg]
moved(old="container.a", new=image)  # type: ignore[arg-type]
StackRef("db").outputs("url")  # type: ignore[attr-defined]
template("a.j2").render()  # type: ignore[attr-defined]

policy(level="forbid")  # type: ignore[call-overload]
count: str = var("count", default=2)  # type: ignore[assignment]
web.port("80")  # type: ignore[arg-type]
web.ready  # type: ignore[attr-defined]  # noqa: B018 - the attribute is what is asked for
load_stack(env="production")  # type: ignore[arg-type]
load_stack().plan(before=load_stack())  # type: ignore[call-arg]


class Postgres(Component):
    def __init__(self, name: str, *, version: str = "16") -> None:
        super().__init__(name)


@component
def cache(name: str, *, memory: str = "64m") -> Container:
    return Container("server", image="redis:7", mem_limit=memory)


Postgres("db", versoin="17")  # type: ignore[call-arg]
cache("cache", memory=64)  # type: ignore[arg-type]
cache()  # type: ignore[call-arg]
