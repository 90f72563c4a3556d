"""Docker-shaped documents, rows of listings, and which containers a name means."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackpy.engines import documents, host_isolation, inspect_defaults, listings
from stackpy.engines.observation import seconds
from tests.unit.fake_engine import NOW, container

IMAGE = {
    "id": "sha256:1",
    "references": ["shop/web:latest", "web:2"],
    "layers": ["aa", "bb"],
    "recipe": "r1",
    "architecture": "amd64",
    "size": 1234,
    "created": NOW,
    "history": [{"created": NOW, "created_by": "RUN make", "empty_layer": False}],
    "config": {
        "Cmd": ["serve"],
        "Entrypoint": ["/bin/tini", "--"],
        "Env": ["PATH=/bin", "MODE=image"],
        "WorkingDir": "/srv",
        "User": "1000",
        "ExposedPorts": {"9000/tcp": {}},
        "Labels": {"from": "image"},
        "StopSignal": "SIGINT",
    },
}
CONFIG: dict[str, Any] = {
    "image": "shop/web:latest",
    "environment": {"MODE": "container", "EMPTY": ""},
    "labels": {
        "stackpy.stack": "shop", "stackpy.resource": "container.web", "stackpy.replica": "2", "stackpy.spec": "{}"
    },
    "mem_limit": 256 << 20,
    "cpus": 0.5,
    "pids_limit": 100,
    "restart": "on-failure:3",
    "networks": {"shop_back": {"aliases": ["web"]}},
    "ports": [{"host_ip": "127.0.0.1", "published": 8080, "target": 80, "protocol": "tcp"}],
    "mounts": [
        {"type": "volume", "source": "shop_data", "target": "/data", "read_only": False},
        {"type": "bind", "source": "/src", "target": "/app", "read_only": True},
        {"type": "tmpfs", "source": "", "target": "/tmp", "read_only": False, "size": 1024, "mode": 0o1777},
    ],
    "secrets": [{"secret": "shop_key", "target": "key"}],
    "cap_add": ["NET_ADMIN"],
    "read_only": True,
    "healthcheck": {
        "test": ["true"], "interval": 1.5, "timeout": 2.0, "retries": 3, "start_period": 0.0, "start_interval": 5.0
    },
}  # fmt: skip
ENDPOINT = {
    "ip_address": "10.1.0.2", "prefix_length": 20, "mac_address": "02:42:0a:01:00:02", "gateway": "10.1.0.1",
    "aliases": ["web"],
}  # fmt: skip
VOLUME = {"name": "shop_data", "driver": "local", "mountpoint": "/r/volumes/shop_data", "labels": {}, "created": NOW}


def test_a_container_in_dockers_shape() -> None:
    document = container("shop-web-2", config=CONFIG, health="healthy", restart_count=1)
    document["networks"] = {"shop_back": ENDPOINT}
    shown = documents.container(document, IMAGE, {"shop_data": VOLUME}, networks={"shop_back": "n1"}, folder="/r/c")
    assert json.loads(json.dumps(shown)) == {
        "Id": document["id"],
        "Created": NOW,
        "Path": "/bin/tini",
        "Args": ["--", "serve"],
        "State": {
            "Status": "running", "Running": True, "Paused": False, "Restarting": False, "OOMKilled": False,
            "Dead": False, "Pid": 42, "ExitCode": 0, "Error": "",
            "StartedAt": NOW, "FinishedAt": "0001-01-01T00:00:00Z",
            "Health": {"Status": "healthy", "FailingStreak": 0, "Log": []},
        },
        "Image": "sha256:1",
        "ResolvConfPath": "/r/c/etc/resolv.conf", "HostnamePath": "/r/c/etc/hostname", "HostsPath": "/r/c/etc/hosts",
        "LogPath": "/r/c/log", "MountLabel": "", "ProcessLabel": "", "AppArmorProfile": "", "ExecIDs": None,
        "GraphDriver": {
            "Name": "overlayfs",
            "Data": {"LowerDir": "", "MergedDir": "/proc/42/root", "UpperDir": "/r/c/upper", "WorkDir": "/r/c/work"},
        },
        "Name": "/shop-web-2",
        "RestartCount": 1,
        "Driver": "overlayfs",
        "Platform": "linux",
        "HostConfig": inspect_defaults.HOST_CONFIG | {
            "Memory": 268435456, "MemorySwap": 268435456, "MemoryReservation": 0, "MemorySwappiness": None,
            "OomKillDisable": False, "NanoCpus": 500000000, "CpuShares": 0, "CpuPeriod": 0, "CpuQuota": 0,
            "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "CpusetCpus": "", "CpusetMems": "", "PidsLimit": 100,
            "BlkioWeight": 0, "BlkioWeightDevice": [], "BlkioDeviceReadBps": [], "BlkioDeviceWriteBps": [],
            "BlkioDeviceReadIOps": [], "BlkioDeviceWriteIOps": [], "CgroupParent": "", "Ulimits": [],
            "ShmSize": 64 << 20, "Sysctls": {}, "OomScoreAdj": 0, "Init": None, "GroupAdd": None, "Dns": [],
            "DnsOptions": [], "DnsSearch": [], "ExtraHosts": None, "Annotations": None, "CgroupnsMode": "private",
            "StorageOpt": None,
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "AutoRemove": False,
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]},
            "Binds": ["shop_data:/data", "/src:/app:ro"], "Tmpfs": {"/tmp": "size=1024,mode=1777"},
            "ReadonlyRootfs": True, "NetworkMode": "shop_back", "CapAdd": ["CAP_NET_ADMIN"], "CapDrop": None,
            "Privileged": False, "LogConfig": {"Type": "local", "Config": {}},
        },
        "Mounts": [
            {"Type": "volume", "Name": "shop_data", "Driver": "local", "Source": "/r/volumes/shop_data",
             "Destination": "/data", "Mode": "", "RW": True, "Propagation": ""},
            {"Type": "bind", "Source": "/src", "Destination": "/app", "Mode": "ro", "RW": False,
             "Propagation": "rprivate"},
            {"Type": "tmpfs", "Source": "", "Destination": "/tmp", "Mode": "", "RW": True, "Propagation": ""},
        ],
        "Config": inspect_defaults.CONFIG | {
            "Hostname": document["id"][:12], "Domainname": "", "User": "1000", "Tty": False, "OpenStdin": False,
            "StdinOnce": False,
            "ExposedPorts": {"9000/tcp": {}, "80/tcp": {}}, "Env": ["PATH=/bin", "MODE=container", "EMPTY="],
            "Cmd": ["serve"], "Entrypoint": ["/bin/tini", "--"], "Image": "shop/web:latest", "Volumes": {},
            "WorkingDir": "/srv",
            "Labels": {"from": "image", "stackpy.stack": "shop", "stackpy.resource": "container.web",
                       "stackpy.replica": "2"},
            "StopSignal": "SIGINT", "StopTimeout": 10,
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1500000000, "Timeout": 2000000000, "StartPeriod": 0,
                            "StartInterval": 5000000000, "Retries": 3},
        },
        "NetworkSettings": inspect_defaults.NETWORK_SETTINGS | {
            "SandboxKey": "/proc/42/ns/net",
            "Ports": {"9000/tcp": None, "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]},
            "IPAddress": "10.1.0.2", "IPPrefixLen": 20, "Gateway": "10.1.0.1", "MacAddress": "02:42:0a:01:00:02",
            "Networks": {"shop_back": inspect_defaults.ENDPOINT | {
                "NetworkID": "n1", "Aliases": ["web"], "IPAddress": "10.1.0.2", "IPPrefixLen": 20,
                                       "Gateway": "10.1.0.1", "MacAddress": "02:42:0a:01:00:02"}},
        },
    }  # fmt: skip


# As `docker inspect` shows them (Docker Engine 20.10, API 1.41, and client 28), without those of other platforms.
DOCKERS = {
    "": "Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount Driver "
    "Platform MountLabel ProcessLabel AppArmorProfile ExecIDs HostConfig GraphDriver Mounts Config NetworkSettings",
    "State": "Status Running Paused Restarting OOMKilled Dead Pid ExitCode Error StartedAt FinishedAt",
    "HostConfig": "Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver "
    "VolumesFrom CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode Cgroup Links "
    "OomScoreAdj PidMode Privileged PublishAllPorts ReadonlyRootfs SecurityOpt UTSMode UsernsMode ShmSize Runtime "
    "ConsoleSize Isolation CpuShares Memory NanoCpus CgroupParent BlkioWeight BlkioWeightDevice BlkioDeviceReadBps "
    "BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps CpuPeriod CpuQuota CpuRealtimePeriod "
    "CpuRealtimeRuntime CpusetCpus CpusetMems Devices DeviceCgroupRules DeviceRequests KernelMemory KernelMemoryTCP "
    "MemoryReservation MemorySwap MemorySwappiness OomKillDisable PidsLimit Ulimits CpuCount CpuPercent IOMaximumIOps "
    "IOMaximumBandwidth MaskedPaths ReadonlyPaths Init Sysctls Tmpfs",
    "Config": "Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty OpenStdin StdinOnce Env "
    "Cmd Image Volumes WorkingDir Entrypoint OnBuild Labels StopSignal StopTimeout",
    "NetworkSettings": "Bridge SandboxID HairpinMode LinkLocalIPv6Address LinkLocalIPv6PrefixLen Ports SandboxKey "
    "SecondaryIPAddresses SecondaryIPv6Addresses EndpointID Gateway GlobalIPv6Address GlobalIPv6PrefixLen IPAddress "
    "IPPrefixLen IPv6Gateway MacAddress Networks",
    "GraphDriver": "Name Data",
}
DOCKERS_ENDPOINT = (
    "IPAMConfig Links Aliases NetworkID EndpointID Gateway IPAddress IPPrefixLen IPv6Gateway GlobalIPv6Address "
    "GlobalIPv6PrefixLen MacAddress DriverOpts"
)


@pytest.mark.parametrize("status", ["created", "running", "paused", "exited"])
@pytest.mark.parametrize("section", DOCKERS)
def test_no_key_of_dockers_is_missing(section: str, status: str) -> None:
    shown = documents.container(container("x", status=status), None, {})
    part = shown[section] if section else shown
    assert sorted(set(DOCKERS[section].split()) - part.keys()) == []
    assert sorted(shown["NetworkSettings"]["Networks"]["bridge"]) == sorted(DOCKERS_ENDPOINT.split())


def test_networks_of_modes_and_addresses_that_were_asked_for() -> None:
    none = documents.container(container("x", config={"network_mode": "none"}), None, {})
    assert list(none["NetworkSettings"]["Networks"]) == ["none"]
    asked = {"networks": {"back": {"aliases": [], "ipv4_address": "10.1.0.9"}}}
    found = documents.container(container("x", config=asked), None, {}, networks={"back": "n2"})
    endpoint = found["NetworkSettings"]["Networks"]["back"]
    assert (endpoint["IPAMConfig"], endpoint["NetworkID"]) == ({"IPv4Address": "10.1.0.9"}, "n2")


def test_an_ended_container_whose_image_is_gone() -> None:
    document = container("x", config={"entrypoint": ["sh"]}, status="exited", pid=0, exit_code=137, oom_killed=True)
    shown = documents.container(document, None, {})
    assert (shown["Path"], shown["Config"]["Cmd"], shown["State"]["ExitCode"]) == ("sh", None, 137)
    assert (shown["State"]["Running"], shown["State"]["OOMKilled"], "Health" in shown["State"]) == (False, True, False)
    assert shown["NetworkSettings"]["Ports"] == {}


@pytest.mark.parametrize(
    ("config", "argv"),
    [
        ({}, ["/bin/tini", "--", "serve"]),
        ({"command": ["other"]}, ["/bin/tini", "--", "other"]),
        ({"entrypoint": ["sh"]}, ["sh"]),
        ({"entrypoint": [], "command": ["ls", "/"]}, ["ls", "/"]),
    ],
)
def test_entrypoint_and_command_are_put_together_as_docker_does(config: dict[str, Any], argv: list[str]) -> None:
    shown = documents.container(container("x", config=config), IMAGE, {})
    assert [shown["Path"], *shown["Args"]] == argv


@pytest.mark.parametrize(
    ("probe", "test"),
    [
        ({"http": "http://localhost/up"}, ["HTTP", "http://localhost/up"]),
        ({"tcp": 5432}, ["TCP", "5432"]),
    ],
)
def test_probes_of_our_own(probe: dict[str, Any], test: list[str]) -> None:
    full = {"interval": 1, "timeout": 1, "retries": 1, "start_period": 0, "start_interval": 1, **probe}
    shown = documents.container(container("x", config={"healthcheck": full}), None, {})
    assert shown["Config"]["Healthcheck"]["Test"] == test


def test_images_networks_and_volumes() -> None:
    image = documents.image(IMAGE, ["sha256:aa", "sha256:bb"])
    assert {key: image[key] for key in ("Id", "RepoTags", "Size", "RootFS", "Os")} == {
        "Id": "sha256:1", "RepoTags": ["shop/web:latest", "web:2"], "Size": 1234, "Os": "linux",
        "RootFS": {"Type": "layers", "Layers": ["sha256:aa", "sha256:bb"]},
    }  # fmt: skip
    network = {
        "id": "n1", "name": "shop_back", "driver": "bridge", "bridge": "sp-1", "subnet": "10.1.0.0/20",
        "gateway": "10.1.0.1", "internal": True, "labels": {"a": "b"}, "created": NOW,
    }  # fmt: skip
    member, other = container("shop-web-1"), container("other")
    member["networks"] = {"shop_back": ENDPOINT}
    shown = documents.network(network, [member, other])
    assert (shown["IPAM"]["Config"], shown["Internal"], shown["Containers"]) == (
        [{"Subnet": "10.1.0.0/20", "Gateway": "10.1.0.1"}],
        True,
        {
            member["id"]: {
                "Name": "shop-web-1", "EndpointID": "", "MacAddress": "02:42:0a:01:00:02",
                "IPv4Address": "10.1.0.2/20", "IPv6Address": "",
            }
        },
    )  # fmt: skip
    kept = {"id": "18ec", "created": NOW, "size": 4096, "labels": {"stackpy.generation": "2"}}
    assert documents.volume(VOLUME, [kept]) == {
        "CreatedAt": NOW, "Driver": "local", "Labels": {}, "Mountpoint": "/r/volumes/shop_data", "Name": "shop_data",
        "Options": {}, "Scope": "local",
        "Snapshots": [{"Id": "18ec", "CreatedAt": NOW, "Size": 4096, "Labels": {"stackpy.generation": "2"}}],
    }  # fmt: skip


AT = 1769860800.0  # NOW


@pytest.mark.parametrize(
    ("state", "after", "text"),
    [
        ({"status": "created"}, 9, "Created"),
        ({}, 0.4, "Up less than a second"),
        ({}, 1, "Up 1 second"),
        ({"started_at": ""}, 250, "Up less than a second"),
        ({"health": "healthy"}, 250, "Up 4 minutes (healthy)"),
        ({"health": "starting"}, 3600, "Up 1 hour (health: starting)"),
        ({"status": "exited", "exit_code": 137, "finished_at": NOW}, 86400 * 3, "Exited (137) 3 days ago"),
        ({"status": "exited", "exit_code": None, "finished_at": ""}, 5, "Exited (unknown)"),
        ({"status": "restarting", "exit_code": 1, "finished_at": NOW}, 3, "Restarting (1) 3 seconds ago"),
        (
            {
                "status": "exited",
                "exit_code": 0,
                "finished_at": NOW,
                "ending": {"cause": "exit", "text": "exited with 0"},
            },
            1,
            "Exited (0) 1 second ago",
        ),
        (
            {
                "status": "exited",
                "exit_code": 0,
                "finished_at": NOW,
                "ending": {"cause": "stopped", "text": "stopped by x"},
            },
            1,
            "Exited (0) 1 second ago: stopped by x",
        ),
        ({}, -5, "Up less than a second"),  # the clock was set back
        ({}, 86400 * 800, "Up 2 years"),
    ],
)
def test_status(state: dict[str, Any], after: float, text: str) -> None:
    assert listings.status(container("x", **state)["state"], AT + after) == text


def test_rows_of_ps() -> None:
    own = container("shop-web-2", config=CONFIG, health="healthy")
    alone = container("alone", config={"image": "gone:1"}, status="exited", exit_code=3, finished_at=NOW)
    alone["image_id"] = "sha256:9"
    rows = listings.containers([alone, own], {"sha256:1": IMAGE}, AT + 60)
    assert rows == [
        {
            "id": own["id"], "name": "shop-web-2", "image": "shop/web:latest", "state": "running",
            "status": "Up 1 minute (healthy)", "health": "healthy", "exit_code": None, "reason": "", "stack": "shop",
            "resource": "container.web", "replica": 2,
            "ports": [{"host_ip": "127.0.0.1", "published": 8080, "target": 80, "protocol": "tcp"}],
            "networks": ["shop_back"], "command": ["/bin/tini", "--", "serve"], "mounts": ["shop_data", "/src", "/tmp"],
            "volumes": 1, "created": NOW, "labels": {
                "stackpy.stack": "shop", "stackpy.resource": "container.web", "stackpy.replica": "2",
            },
        },
        {
            "id": alone["id"], "name": "alone", "image": "sha256:9", "state": "exited",
            "status": "Exited (3) 1 minute ago", "health": "", "exit_code": 3, "reason": "", "stack": None,
            "resource": None, "replica": None, "ports": [], "networks": ["bridge"], "command": [], "mounts": [],
            "volumes": 0, "labels": {}, "created": NOW,
        },
    ]  # fmt: skip


def test_rows_of_the_other_listings() -> None:
    nameless = {**IMAGE, "id": "sha256:0", "references": [], "created": "2025-01-01T00:00:00Z"}
    assert [(row["reference"], row["id"]) for row in listings.images([nameless, IMAGE])] == [
        ("web:2", "sha256:1"), ("shop/web:latest", "sha256:1"), ("", "sha256:0")
    ]  # fmt: skip
    labels = {"stackpy.stack": "shop", "stackpy.resource": "volume.data"}
    assert listings.volumes([{**VOLUME, "labels": labels}], {"shop_data": 2}) == [
        {
            "name": "shop_data", "driver": "local", "stack": "shop", "resource": "volume.data",
            "mountpoint": "/r/volumes/shop_data", "snapshots": 2, "created": NOW,
        }
    ]  # fmt: skip
    network = {"labels": {"stackpy.stack": "kept", "stackpy.resource": "network.x"}, "name": "kept_x"}
    rows = listings.stacks(
        "embedded",
        [container("shop-web-2", config=CONFIG), container("alone")],
        [network, {**VOLUME, "labels": labels}, {**VOLUME, "labels": {**labels, "stackpy.stack": "gone"}}],
        {"shop": 4},
    )  # fmt: skip
    assert rows == [
        {"name": "kept", "engine": "embedded", "generation": 0, "resources": 1, "running": 0},
        {"name": "shop", "engine": "embedded", "generation": 4, "resources": 2, "running": 1},
    ]


def named(name: str, resource: str, replica: int = 1, stack: str = "shop") -> dict[str, Any]:
    own = {"stackpy.stack": stack, "stackpy.resource": resource, "stackpy.replica": str(replica)}
    return container(name, config={"labels": own})


@pytest.mark.parametrize(
    ("word", "stack", "found"),
    [
        ("web", "shop", ["shop-web-1", "shop-web-2"]),
        ("web.2", "shop", ["shop-web-2"]),
        ("web.3", "shop", []),
        ("container.web", "shop", ["shop-web-1", "shop-web-2"]),
        ("container.web.1", "shop", ["shop-web-1"]),
        ("migrate", "shop", ["shop-migrate-1"]),
        ("job.migrate", "shop", ["shop-migrate-1"]),
        ("v1.5", "shop", ["shop-v1.5-1"]),
        ("v1.5.1", "shop", ["shop-v1.5-1"]),
        ("web", None, ["web"]),  # outside of the stack, the container of that name
        ("web", "other", ["other-web-1"]),
        ("shop-web-2", None, ["shop-web-2"]),
        ("nothing", "shop", []),
        ("", "shop", []),
    ],
)
def test_names(word: str, stack: str | None, found: list[str]) -> None:
    everything = [
        named("shop-web-2", "container.web", 2),
        named("shop-web-1", "container.web"),
        named("shop-migrate-1", "job.migrate"),
        named("shop-v1.5-1", "container.v1.5"),
        named("other-web-1", "container.web", stack="other"),
        container("web"),
    ]
    assert listings.find(word, everything, stack) == found


def test_the_beginning_of_an_id() -> None:
    one, two = container("one"), container("two")
    one["id"], two["id"] = "ab12" + "0" * 60, "ab34" + "0" * 60
    assert listings.find("ab1", [one, two], None) == ["one"]
    assert listings.find("ab", [one, two], None) == ["one", "two"]
    assert listings.find("a", [one, two], None) == []
    assert listings.find(two["id"], [one, two], None) == ["two"]


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)))
def test_dates(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    assert seconds(aware.isoformat().replace("+00:00", "Z")) == pytest.approx(aware.timestamp(), abs=1e-5)


def test_no_date() -> None:
    assert seconds("") == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"privileged": True}, {"Privileged": True, "MaskedPaths": None, "ReadonlyPaths": None}),
        ({"security_opt": ["apparmor=a", "apparmor:b"]}, {"SecurityOpt": ["apparmor=a", "apparmor:b"]}),
        (
            {"security_opt": ["label=disable", "systempaths=unconfined"]},
            {"SecurityOpt": ["label=disable"], "MaskedPaths": None},
        ),
        (
            {"devices": ["/dev/a:/dev/b:r", "/dev/c", "/dev/d:rw"]},
            {
                "Devices": [
                    {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access}
                    for source, target, access in (
                        ("/dev/a", "/dev/b", "r"), ("/dev/c", "/dev/c", "rwm"), ("/dev/d", "/dev/d", "rw"),
                    )
                ]
            },
        ),
        ({"device_cgroup_rules": ["c 1:3 r"]}, {"DeviceCgroupRules": ["c 1:3 r"]}),
        ({"userns": "host", "uts": "host"}, {"UsernsMode": "host", "UTSMode": "host"}),
        ({"pid": "host", "ipc": "container:x"}, {"PidMode": "host", "IpcMode": "container:x"}),
        ({"userns": "auto"}, {"UsernsMode": "", "PidMode": "", "IpcMode": "private", "Privileged": False}),
        ({"network_mode": "container:x"}, {"NetworkMode": "container:x"}),
    ],
)  # fmt: skip
def test_isolation_in_dockers_shape(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    shown = documents.container(container("web", config=fields), None, {})["HostConfig"]
    assert {key: shown[key] for key in expected} == expected


def test_the_apparmor_profile_is_the_last_that_was_given() -> None:
    assert host_isolation.apparmor({"security_opt": ["apparmor=a", "label=disable", "apparmor:b"]}) == "b"
    assert host_isolation.apparmor({}) == ""
