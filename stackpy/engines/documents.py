"""The engine's objects in the shape and names of Docker's `inspect`; Docker Engine API, ContainerInspect and friends.

Values of secrets are nowhere in the engine's documents, so they cannot come here; the environment is shown as Docker
shows it.
"""

from __future__ import annotations

from stackpy.engines import host_config, host_isolation, inspect_defaults, labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Document = Mapping[str, Any]


NANO = 1_000_000_000
NEVER = "0001-01-01T00:00:00Z"  # Go's zero time, which is what Docker shows
SHORT_ID = 12
UNKNOWN = 255  # the exit code of an end that nobody has seen, as Docker and containerd show it
_LOGGING = {"max-size": "log_max_size", "max-file": "log_max_file", "tag": "log_tag", "labels": "log_labels"}


def container(
    document: Document,
    image: Document | None,
    volumes: Mapping[str, Document],
    *,
    networks: Mapping[str, str] = {},
    folder: str = "",
    health: Document | None = None,
    crash: Document | None = None,
) -> dict[str, Any]:
    """Docker's container document.

    image: None when it is not in the store any more
    volumes: the engine's volumes by name, for where their files lie
    networks: IDs of the engine's networks by name
    folder: of the container, on the host
    health: what the last health checks have found
    crash: the last of what it is a replica of
    """
    config, defaults = document["config"], (image or {}).get("config", {})
    words = argv(config, defaults)
    return {
        "Id": document["id"],
        "Created": document["created"],
        "Path": words[0] if words else "",
        "Args": words[1:],
        "State": _state(document["state"], health, crash),
        "Image": document["image_id"],
        "ResolvConfPath": f"{folder}/etc/resolv.conf",
        "HostnamePath": f"{folder}/etc/hostname",
        "HostsPath": f"{folder}/etc/hosts",
        "LogPath": "" if config.get("log_driver") == "none" else f"{folder}/log",
        "Name": f"/{document['name']}",
        "RestartCount": document["state"]["restart_count"],
        "Driver": "overlayfs",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": host_isolation.apparmor(config),
        "ExecIDs": None,
        "HostConfig": inspect_defaults.HOST_CONFIG | _host_config(config),
        "GraphDriver": _graph_driver(document["state"]["pid"], folder),
        "Mounts": [_mount(mount, volumes) for mount in config.get("mounts", ())],
        "Config": inspect_defaults.CONFIG | _config(document, config, defaults),
        "NetworkSettings": inspect_defaults.NETWORK_SETTINGS | _network_settings(document, config, defaults, networks),
    }


def _graph_driver(pid: int, folder: str) -> dict[str, Any]:
    """Where what a container has written lies. The merged tree is mounted in its own namespace alone."""
    return {
        "Name": "overlayfs",
        "Data": {
            "LowerDir": "",
            "MergedDir": f"/proc/{pid}/root" if pid else "",
            "UpperDir": f"{folder}/upper",
            "WorkDir": f"{folder}/work",
        },
    }


def image(document: Document, diff_ids: Iterable[str]) -> dict[str, Any]:
    """Docker's image document.

    diff_ids: digests of the layers' tars, bottom first
    """
    config = document["config"]
    own = {
        key: config[key] for key in ("ExposedPorts", "Healthcheck", "OnBuild", "Shell", "StopSignal") if key in config
    }
    return {
        "Id": document["id"],
        "RepoTags": list(document["references"]),
        "RepoDigests": list(document.get("origins", ())),
        "Parent": "",
        "Comment": document["history"][-1].get("comment", "") if document["history"] else "",
        "Created": document["created"],
        "DockerVersion": "",
        "Author": document.get("author", ""),
        "Config": {
            "User": config.get("User", ""),
            "Env": list(config.get("Env", ())),
            "Cmd": config.get("Cmd"),
            "Volumes": config.get("Volumes"),
            "WorkingDir": config.get("WorkingDir", ""),
            "Entrypoint": config.get("Entrypoint"),
            "Labels": config.get("Labels"),
            **own,
        },
        "Architecture": document["architecture"],
        "Os": "linux",
        "Size": document["size"],
        "GraphDriver": {"Name": "overlayfs", "Data": None},
        "RootFS": {"Type": "layers", "Layers": list(diff_ids)},
        "Metadata": {"LastTagTime": NEVER},
        "History": [dict(entry) for entry in document["history"]],
    }


def network(document: Document, containers: Iterable[Document]) -> dict[str, Any]:
    """Docker's network document.

    containers: those of the engine; the ones that are on the network and run are listed
    """
    return {
        "Name": document["name"],
        "Id": document["id"],
        "Created": document["created"],
        "Scope": "local",
        "Driver": document["driver"],
        "EnableIPv6": False,
        "IPAM": {
            "Driver": "default",
            "Options": {},
            "Config": [{"Subnet": document["subnet"], "Gateway": document["gateway"]}],
        },
        "Internal": document["internal"],
        "Attachable": False,
        "Ingress": False,
        "Containers": {
            member["id"]: _member(member, document["name"])
            for member in containers
            if document["name"] in member["networks"]
        },
        "Options": {"com.docker.network.bridge.name": document["bridge"]},
        "Labels": dict(document["labels"]),
    }


def volume(document: Document, snapshots: Iterable[Document] = ()) -> dict[str, Any]:
    """Docker's volume document, with what is kept of it."""
    return {
        "CreatedAt": document["created"],
        "Driver": document["driver"],
        "Labels": dict(document["labels"]),
        "Mountpoint": document["mountpoint"],
        "Name": document["name"],
        "Options": {},
        "Scope": "local",
        "Snapshots": [
            {"Id": one["id"], "CreatedAt": one["created"], "Size": one["size"], "Labels": dict(one["labels"])}
            for one in snapshots
        ],
    }


def event(document: Document) -> dict[str, Any]:
    """Docker's event, with the fields of its older API in front, which scripts still read."""
    attributes = document["Actor"]["Attributes"]
    old = {"status": document["Action"], "id": document["Actor"]["ID"]}
    if document["Type"] not in ("container", "image"):
        return dict(document)
    return {**old, **({"from": attributes["image"]} if document["Type"] == "container" else {}), **document}


def _state(state: Document, health: Document | None, crash: Document | None) -> dict[str, Any]:
    """Docker's, with what Docker does not say: `Ending`, why the last run ended, and `LastCrash`."""
    status = state["status"]
    shown: dict[str, Any] = {
        "Status": status,
        "Running": status in ("running", "paused", "restarting"),
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": state["oom_killed"],
        "Dead": False,
        "Pid": state["pid"],
        "ExitCode": UNKNOWN if state["exit_code"] is None and state["status"] == "exited" else state["exit_code"] or 0,
        "Error": state["error"],
        "StartedAt": state["started_at"] or NEVER,
        "FinishedAt": state["finished_at"] or NEVER,
    }
    if state["health"] or (health and health["log"]):
        shown["Health"] = {
            "Status": state["health"] or "none",
            "FailingStreak": health["failing_streak"] if health else 0,
            "Log": [_result(result) for result in (health["log"] if health else ())],
        }
    if state.get("ending"):
        shown["Ending"] = _ending(state["ending"])
    if crash:
        shown["LastCrash"] = {
            "Id": crash["id"],
            "StartedAt": crash["started_at"] or NEVER,
            "FinishedAt": crash["finished_at"] or NEVER,
            "ExitCode": crash["exit_code"],
            "Ending": _ending(crash["ending"]),
            "Output": list(crash["output"]),
            **({"Health": [_result(each) for each in crash["health"]["log"]]} if crash.get("health") else {}),
        }
    return shown


def _result(result: Document) -> dict[str, Any]:
    return {
        "Start": result["start"],
        "End": result["end"],
        "ExitCode": result["exit_code"],
        "Output": result["output"],
    }


def _ending(ending: Document) -> dict[str, Any]:
    shown = {"Cause": ending["cause"], "Text": ending["text"], "Hint": ending["hint"]}
    names = {"signal": "Signal", "memory_limit": "MemoryLimit", "memory_peak": "MemoryPeak"}
    return {**shown, **{name: ending[key] for key, name in names.items() if key in ending}}


def argv(config: Document, defaults: Document) -> list[str]:
    """What a container executes. defaults: its image's configuration"""
    return [*_entrypoint(config, defaults), *_command(config, defaults)]


def _entrypoint(config: Document, defaults: Document) -> list[str]:
    return list(config.get("entrypoint", defaults.get("Entrypoint") or ()))


def _command(config: Document, defaults: Document) -> list[str]:
    if "command" in config:
        return list(config["command"])
    # an entrypoint of the container's own takes the image's command away, as in Docker
    return [] if "entrypoint" in config else list(defaults.get("Cmd") or ())


def _config(document: Document, config: Document, defaults: Document) -> dict[str, Any]:
    environment = dict(entry.partition("=")[::2] for entry in defaults.get("Env") or ())
    environment.update(config.get("environment", {}))
    exposed = {**(defaults.get("ExposedPorts") or {}), **{_port(port): {} for port in config.get("ports", ())}}
    shown = {**(defaults.get("Labels") or {}), **config.get("labels", {})}
    shown.pop(labels.SPEC, None)  # says again what the rest of the document says
    check = _check(config.get("healthcheck"), defaults.get("Healthcheck"))
    return {
        "Hostname": config.get("hostname") or document["id"][:SHORT_ID],
        "Domainname": config.get("domainname", ""),
        "User": config.get("user", defaults.get("User", "")),
        "Tty": config.get("tty", False),
        "OpenStdin": config.get("stdin_open", False),
        "StdinOnce": config.get("stdin_once", False),
        "ExposedPorts": exposed,
        "Env": [f"{key}={value}" for key, value in environment.items()],
        "Cmd": _command(config, defaults) or None,
        "Entrypoint": _entrypoint(config, defaults) or None,
        "Image": config["image"],
        "Volumes": dict(defaults.get("Volumes") or {}),
        "WorkingDir": config.get("working_dir", defaults.get("WorkingDir", "")),
        "Labels": shown,
        "StopSignal": config.get("stop_signal", defaults.get("StopSignal", "SIGTERM")),
        "StopTimeout": config.get("stop_grace_period", 10),
        **({"Healthcheck": check} if check else {}),
    }


def _check(own: Document | None, image: Document | None) -> Document | None:
    """The health check that a container has: its own, its image's, or its image's with its own times."""
    if not own:
        return image
    shown = _healthcheck(own)
    if shown["Test"] or not image:
        return shown
    return {**image, **{name: value for name, value in shown.items() if value}}


def _healthcheck(probe: Document) -> dict[str, Any]:
    if probe.get("test") == ["NONE"]:
        return {"Test": ["NONE"]}
    if "http" in probe:
        test = ["HTTP", probe["http"]]
    elif "tcp" in probe:
        test = ["TCP", str(probe["tcp"])]
    else:
        vector = probe.get("test", [])
        is_line = vector[:2] == ["/bin/sh", "-c"] and len(vector) == 3
        test = ["CMD-SHELL", vector[2]] if is_line else ["CMD", *vector] if vector else []
    times = {
        "Interval": "interval", "Timeout": "timeout", "StartPeriod": "start_period", "StartInterval": "start_interval",
    }  # fmt: skip
    # Docker's way of saying that a check is its image's with other times: no test, and 0 for what is the image's.
    return {
        "Test": test,
        **{name: round(probe.get(key, 0) * NANO) for name, key in times.items()},
        "Retries": probe.get("retries", 0),
    }


def _host_config(config: Document) -> dict[str, Any]:
    policy, _, retries = config.get("restart", "no").partition(":")
    networks = list(config.get("networks", {}))
    return {
        **host_config.limits(config),
        **host_config.surroundings(config),
        "RestartPolicy": {"Name": policy or "no", "MaximumRetryCount": int(retries or 0)},
        "AutoRemove": config.get("auto_remove", False),
        "PortBindings": _bindings(config),
        "Binds": [
            _bind(mount)
            for mount in config.get("mounts", ())
            if mount["type"] != "tmpfs" and mount["source"] and not _is_long(mount)
        ],
        **({"Mounts": long} if (long := [_long(each) for each in config.get("mounts", ()) if _is_long(each)]) else {}),
        "Tmpfs": {mount["target"]: _tmpfs(mount) for mount in config.get("mounts", ()) if mount["type"] == "tmpfs"},
        "ReadonlyRootfs": config.get("read_only", False),
        "NetworkMode": config.get("network_mode") or (networks[0] if networks else "default"),
        "CapAdd": _capabilities(config.get("cap_add")),
        "CapDrop": _capabilities(config.get("cap_drop")),
        **host_isolation.isolation(config),
        "LogConfig": {
            "Type": config.get("log_driver", "local"),
            "Config": {
                key: ",".join(config[option]) if key == "labels" else str(config[option])
                for key, option in _LOGGING.items()
                if option in config
            },
        },
    }


def _capabilities(names: Iterable[str] | None) -> list[str] | None:
    """Docker's spelling: CAP_NET_ADMIN, and ALL."""
    return [name if name in ("ALL",) or name.startswith("CAP_") else f"CAP_{name}" for name in names or ()] or None


def _bind(mount: Document) -> str:
    options = _mode(mount)
    return f"{mount['source']}:{mount['target']}" + (f":{options}" if options else "")


def _is_long(mount: Document) -> bool:
    """Whether `-v` has no words for a mount, so that docker lists it among `Mounts`."""
    return "subpath" in mount or "recursive" in mount


def _long(mount: Document) -> dict[str, Any]:
    """A mount as `--mount` has it."""
    shown = {
        "Type": mount["type"],
        "Source": mount["source"],
        "Target": mount["target"],
        "ReadOnly": mount.get("read_only", False),
    }
    if mount["type"] == "volume":
        return shown | {"VolumeOptions": {"NoCopy": mount.get("nocopy", False), "Subpath": mount["subpath"]}}
    options = {"Propagation": mount["propagation"]} if "propagation" in mount else {}
    word = {"disabled": "NonRecursive", "writable": "ReadOnlyNonRecursive"}[mount["recursive"]]
    return shown | {"BindOptions": options | {word: True}}


def _mode(mount: Document) -> str:
    """A mount's options as `-v` has them."""
    options = ["ro"] if mount.get("read_only") else []
    options += [mount["propagation"]] if "propagation" in mount else []
    return ",".join([*options, *(["nocopy"] if mount.get("nocopy") else [])])


def _tmpfs(mount: Document) -> str:
    options = ["ro"] if mount.get("read_only") else []
    options += [f"size={mount['size']}"] if "size" in mount else []
    options += [f"mode={mount['mode']:o}"] if "mode" in mount else []
    options += [f"{key}={mount[key]}" for key in ("uid", "gid", "nr_inodes") if key in mount]
    options += ["exec"] if mount.get("executable") else []
    return ",".join(options)


def _mount(mount: Document, volumes: Mapping[str, Document]) -> dict[str, Any]:
    kind, source = mount["type"], mount["source"]
    shown: dict[str, Any] = {"Type": kind}
    if kind == "volume":
        shown |= {"Name": source, "Driver": "local"}
        source = volumes[source]["mountpoint"] if source in volumes else ""
    writable = not mount.get("read_only", False)
    return shown | {
        "Source": source,
        "Destination": mount["target"],
        "Mode": _mode(mount),
        "RW": writable,
        "Propagation": mount.get("propagation", "rprivate") if kind == "bind" else "",
    }


def _network_settings(
    document: Document, config: Document, defaults: Document, networks: Mapping[str, str]
) -> dict[str, Any]:
    ports: dict[str, Any] = dict.fromkeys(defaults.get("ExposedPorts") or ())
    if document["state"]["status"] in ("running", "paused"):
        ports.update(_bindings(config))
    endpoints = document["networks"]
    first = next(iter(endpoints.values()), None)
    pid = document["state"]["pid"]
    return {
        "SandboxKey": f"/proc/{pid}/ns/net" if pid else "",
        "Ports": ports,
        "IPAddress": first["ip_address"] if first else "",
        "IPPrefixLen": first["prefix_length"] if first else 0,
        "Gateway": first["gateway"] if first else "",
        "MacAddress": first["mac_address"] if first else "",
        "Networks": {
            name: inspect_defaults.ENDPOINT
            | {
                "IPAMConfig": _asked_address(config, name),
                "NetworkID": networks.get(name, ""),
                "Aliases": list(endpoint["aliases"]),
                "IPAddress": endpoint["ip_address"],
                "IPPrefixLen": endpoint["prefix_length"],
                "Gateway": endpoint["gateway"],
                "MacAddress": endpoint["mac_address"],
            }
            for name, endpoint in _networks(config, endpoints).items()
        },
    }


def _asked_address(config: Document, name: str) -> dict[str, str] | None:
    address = config.get("networks", {}).get(name, {}).get("ipv4_address")
    return {"IPv4Address": address} if address else None


def _networks(config: Document, endpoints: Mapping[str, Document]) -> dict[str, Document]:
    """The networks of a container; one that does not run has no addresses yet, but they are listed, as in Docker."""
    empty = {"ip_address": "", "prefix_length": 0, "gateway": "", "mac_address": ""}
    asked: Mapping[str, Any] = config.get("networks") or {config.get("network_mode") or "bridge": {}}
    wanted = {name: {**empty, "aliases": attachment.get("aliases", ())} for name, attachment in asked.items()}
    return {**wanted, **endpoints}


def _bindings(config: Document) -> dict[str, list[dict[str, str]]]:
    result: dict[str, list[dict[str, str]]] = {}
    for port in config.get("ports", ()):
        binding = {"HostIp": port["host_ip"], "HostPort": str(port["published"])}
        result.setdefault(_port(port), []).append(binding)
    return result


def _port(port: Document) -> str:
    return f"{port['target']}/{port['protocol']}"


def _member(member: Document, network_name: str) -> dict[str, str]:
    endpoint = member["networks"][network_name]
    return {
        "Name": member["name"],
        "EndpointID": "",
        "MacAddress": endpoint["mac_address"],
        "IPv4Address": f"{endpoint['ip_address']}/{endpoint['prefix_length']}",
        "IPv6Address": "",
    }
