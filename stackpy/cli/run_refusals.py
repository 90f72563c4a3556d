"""What `docker run` and `docker create` have besides: why it is not here, and what to do."""

from __future__ import annotations

_WINDOWS = ("Windows has it", "leave it out")

REFUSED = {
    "--cpu-count": ("Windows has it", "`--cpus`"),
    "--cpu-percent": ("Windows has it", "`--cpus`"),
    "--disable-content-trust": ("digests are pinned in `stackpy.lock` instead", "leave it out"),
    "--gpus": ("what gives containers a vendor's libraries is none of ours", "give the device files by `--device`"),
    "--io-maxbandwidth": _WINDOWS,
    "--io-maxiops": _WINDOWS,
    "--ip6": ("networks have IPv4 only", "`--ip`"),
    "--isolation": _WINDOWS,
    "--kernel-memory": ("Docker and the kernel have given it up", "`--memory` counts it"),
    "--link": ("containers on one network find each other by name", "`--network`, `--network-alias`"),
    "--link-local-ip": ("networks have one address for each container", "`--ip`"),
    "--mac-address": ("it follows from the IPv4 address, so that no container can take another's", "`--ip`"),
    "--use-api-socket": ("no container is given the engine unasked", "mount the socket by `--volume`"),
    "--volume-driver": ("volumes are folders of this host", "`--mount type=volume`, or `--volume`"),
}
