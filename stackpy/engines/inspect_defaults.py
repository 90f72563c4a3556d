"""What Docker's container document says where nothing was asked for: each key of it is there, as programs expect.

The keys are those of a document of Docker Engine (API 1.41 to 1.48), whether or not they mean anything here; what does
is laid over them by documents.py.
"""

from __future__ import annotations

from stackpy_runtime.container.masks import READ_ONLY_PATHS, masked_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOST_CONFIG: dict[str, Any] = {
    "Binds": None,
    "ContainerIDFile": "",
    "VolumeDriver": "",
    "VolumesFrom": None,
    "CgroupnsMode": "private",
    "IpcMode": "private",
    "Cgroup": "",
    "Links": None,
    "PidMode": "",
    "Privileged": False,
    "PublishAllPorts": False,
    "SecurityOpt": None,
    "UTSMode": "",
    "UsernsMode": "",
    "Runtime": "",
    "ConsoleSize": [0, 0],
    "Isolation": "",
    "Devices": [],
    "DeviceCgroupRules": None,
    "DeviceRequests": None,
    "KernelMemory": 0,
    "KernelMemoryTCP": 0,
    "CpuCount": 0,
    "CpuPercent": 0,
    "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0,
    "MaskedPaths": masked_paths(),
    "ReadonlyPaths": list(READ_ONLY_PATHS),
}
CONFIG: dict[str, Any] = {
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "OnBuild": None,
}
NETWORK_SETTINGS: dict[str, Any] = {
    "Bridge": "",
    "SandboxID": "",
    "SandboxKey": "",
    "HairpinMode": False,
    "LinkLocalIPv6Address": "",
    "LinkLocalIPv6PrefixLen": 0,
    "SecondaryIPAddresses": None,
    "SecondaryIPv6Addresses": None,
    "EndpointID": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "IPv6Gateway": "",
}
ENDPOINT: dict[str, Any] = {
    "IPAMConfig": None,
    "Links": None,
    "NetworkID": "",
    "EndpointID": "",
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "DriverOpts": None,
}
