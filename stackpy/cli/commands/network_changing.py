"""stackpy network create, connect, disconnect, rm."""

from __future__ import annotations

from stackpy.cli.failures import for_each
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def create(context: Context, arguments: Any) -> int:
    """Makes a network."""
    from stackpy.cli.run_config import parsed
    from stackpy.dsl import values
    from stackpy.dsl.resources import cidr

    if arguments.driver not in (None, "bridge"):
        raise UsageError(f"`--driver {arguments.driver}`: networks have one driver, `bridge`", hint="leave it out")
    config: dict[str, Any] = {
        "name": parsed("network create", values.resource_name, arguments.network),
        "labels": parsed("--label", values.labels, arguments.label),
    }
    if arguments.subnet:
        config["subnet"] = parsed("--subnet", cidr, arguments.subnet)
    if arguments.internal:
        config["internal"] = True
    print(context.engine().network_create(config))
    return 0


def remove(context: Context, arguments: Any) -> int:
    """Removes networks; goes on behind one that fails."""
    engine = context.engine()

    def gone(name: str) -> None:
        engine.network_remove(name, arguments.force)
        print(name)

    return for_each(arguments.network, gone)


def connect(context: Context, arguments: Any) -> int:
    """Puts a container on one more network, whether it runs or not."""
    from stackpy.cli import naming
    from stackpy.cli.network_options import attachment

    container = naming.one(context, arguments.container)
    context.engine().network_connect(arguments.network, container, attachment(arguments))
    return 0


def disconnect(context: Context, arguments: Any) -> int:
    """Takes a container off a network, whether it runs or not."""
    from stackpy.cli import naming

    container = arguments.container if arguments.force else naming.one(context, arguments.container)
    context.engine().network_disconnect(arguments.network, container, arguments.force)
    return 0


_NETWORK = Argument("NETWORK", help="a name or ID", words="network")
_CONTAINER = Argument("CONTAINER", help="a container; inside a stack's folder also a resource", words="container")
_BRIDGES = ("networks have one driver, bridge, with addresses of the engine's choice", "leave it out")
_IPV4 = ("networks have IPv4 only", "`--subnet` takes an IPv4 network")

CREATE = Command(
    "network create",
    "Make a network",
    create,
    options=[
        Option("--subnet", metavar="CIDR", help="its addresses, as in 10.5.0.0/24 (default: a free range)"),
        Option("--internal", help="no way out, and none in"),
        Option("--label", metavar="KEY=VALUE", many=True, help="a label"),
        Option("-d", "--driver", metavar="DRIVER", help="bridge, which is the only one"),
    ],
    arguments=[Argument("NETWORK", help="its name")],
    examples=[("stackpy network create --subnet 10.5.0.0/24 back", "for `run --network back --ip 10.5.0.9`")],
    refused={
        "--attachable": ("every network is", "leave it out"),
        "--aux-address": _BRIDGES,
        "--config-from": _BRIDGES,
        "--config-only": _BRIDGES,
        "--gateway": ("it is the first address of the subnet", "leave it out"),
        "--ingress": _BRIDGES,
        "--ip-range": ("containers without an address of their own get the lowest that is free", "leave it out"),
        "--ipam-driver": _BRIDGES,
        "--ipam-opt": _BRIDGES,
        "--ipv4": _BRIDGES,
        "--ipv6": _IPV4,
        "-o": _BRIDGES,
        "--opt": _BRIDGES,
        "--scope": _BRIDGES,
    },
)
RM = Command(
    "network rm",
    "Remove networks",
    remove,
    options=[Option("-f", "--force", help="no error when there is no such network")],
    arguments=[Argument("NETWORK", help="a name or ID", many=True, words="network")],
    examples=[("stackpy network rm back", "refused while a running container is on it")],
)
CONNECT = Command(
    "network connect",
    "Put a container on one more network, also while it runs",
    connect,
    options=[
        Option("--alias", metavar="NAME", many=True, help="another name of it there"),
        Option("--ip", metavar="ADDRESS", help="its IPv4 address there"),
        Option("--gw-priority", metavar="NUMBER", help="the network with the highest leads out (default: 0)"),
    ],
    arguments=[_NETWORK, _CONTAINER],
    examples=[("stackpy network connect --alias db back postgres", "found as `db` by who is on `back`")],
    refused={
        "--driver-opt": ("networks have one driver, bridge, which takes no options of a container", "leave it out"),
        "--ip6": ("networks have IPv4 only", "`--ip`"),
        "--link": ("containers on one network find each other by name", "`--alias`"),
        "--link-local-ip": ("networks have one address for each container", "`--ip`"),
    },
)
DISCONNECT = Command(
    "network disconnect",
    "Take a container off a network, also while it runs",
    disconnect,
    options=[Option("-f", "--force", help="no error when there is no such container or network")],
    arguments=[_NETWORK, _CONTAINER],
    examples=[("stackpy network disconnect back postgres", "it stays on its other networks")],
)
