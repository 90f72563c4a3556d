"""What a container uses of the host now: processor, memory, block devices, network, processes.

From its control group where a controller counts, else from its processes: version 1 may lack cpuacct. What children
used is added to their parents' when these collect them (proc_pid_stat(5), cutime; fs/proc/base.c, do_io_accounting), so
the sum over the processes that are there misses only those that nobody has collected.
"""

from __future__ import annotations

import os

from stackpy_runtime.container.cgroups import read_file
from stackpy_runtime.linux.proc import stat_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from stackpy_runtime.container.cgroups import Group
    from stackpy_runtime.model import Consumption

_NANO = 1_000_000_000


def read(group: Group, pid: int, *, own_network: bool) -> Consumption:
    """What is used at this moment. pid: of its first process; own_network: it has a network namespace of its own"""
    import time

    places = group.paths()
    everyone = processes(group)
    processor = _processor(places)
    blocks = _blocks(places, everyone)
    received, sent = _network(pid) if own_network else (0, 0)
    return {
        "time": time.time_ns(),
        "cpu": _sum_of_processors(everyone) if processor is None else processor,
        "memory": _memory(places),
        "memory_limit": _memory_limit(places),
        "pids": _number(_text(places, "pids", "pids.current")) or len(everyone),
        "block_read": blocks[0],
        "block_write": blocks[1],
        "network_rx": received,
        "network_tx": sent,
    }


def processes(group: Group) -> list[int]:
    """PIDs of all processes of a container, as this host counts them; those of groups within its own too."""
    paths = group.paths()
    top = paths.get("") or paths.get("pids") or next(iter(paths.values()))
    found: set[int] = set()
    for folder, _, _ in os.walk(top):
        found.update(int(pid) for pid in read_file(f"{folder}/cgroup.procs").split())
    return sorted(pid for pid in found if not _stands_by(pid))


def _stands_by(pid: int) -> bool:
    """Whether it is one of ours that waits for the next exec (host/joiners.py).

    It sees the host's mounts, as nothing of a container does: what it is called can be said by anything.
    """
    try:
        if os.stat(f"/proc/{pid}/ns/mnt").st_ino != os.stat("/proc/self/ns/mnt").st_ino:
            return False
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(16).startswith(b"stackpy-init ")
    except OSError:
        return False


def _text(places: Mapping[str, str], controller: str, name: str) -> str:
    folder = places.get("") or places.get(controller)
    return read_file(f"{folder}/{name}") if folder else ""


def _number(text: str) -> int:
    word = text.strip()
    return int(word) if word.isdigit() else 0


def _table(text: str) -> dict[str, int]:
    """`key value` lines."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _processor(places: Mapping[str, str]) -> int | None:
    """Nanoseconds; None where no controller counts them."""
    if "" in places:
        found = _table(_text(places, "", "cpu.stat")).get("usage_usec")
        return None if found is None else found * 1000
    text = _text(places, "cpuacct", "cpuacct.usage").strip()
    return int(text) if text.isdigit() else None


def _sum_of_processors(pids: Iterable[int]) -> int:
    ticks = 0
    for pid in pids:
        fields = stat_fields(pid)
        if len(fields) > 14:
            ticks += sum(int(fields[at]) for at in (11, 12, 13, 14))  # utime stime cutime cstime, from the third on
    return ticks * _NANO // os.sysconf("SC_CLK_TCK")


def _memory(places: Mapping[str, str]) -> int:
    """Bytes without what of files the kernel would give up first, as docker shows it."""
    if "" in places:
        used, inactive = _number(_text(places, "", "memory.current")), "inactive_file"
    else:
        used, inactive = _number(_text(places, "memory", "memory.usage_in_bytes")), "total_inactive_file"
    spare = _table(_text(places, "memory", "memory.stat")).get(inactive, 0)
    return used - spare if spare < used else used


def _memory_limit(places: Mapping[str, str]) -> int:
    """Bytes; this host's memory where there is no limit."""
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    name = "memory.max" if "" in places else "memory.limit_in_bytes"
    return min(_number(_text(places, "memory", name)) or host, host)


def _blocks(places: Mapping[str, str], everyone: list[int]) -> tuple[int, int]:
    """Bytes read and written.

    On version 1 the controller does not count what is written through the page cache (cgroup-v1/blkio-controller.rst),
    and processes lack what others have done that nobody has collected: both are too little, the greater one less so.
    """
    if "" in places:
        text = _text(places, "", "io.stat")
        known = text or os.path.exists(f"{places['']}/io.stat")
        return parse_io_stat(text) if known else _sum_of_blocks(everyone)
    counted = parse_io_service_bytes(_text(places, "blkio", "blkio.throttle.io_service_bytes_recursive"))
    summed = _sum_of_blocks(everyone)
    return max(counted[0], summed[0]), max(counted[1], summed[1])


def parse_io_stat(text: str) -> tuple[int, int]:
    """`8:0 rbytes=1 wbytes=2 …` (cgroup-v2.rst): bytes read and written, of all devices."""
    read = written = 0
    for line in text.splitlines():
        pairs = dict(word.partition("=")[::2] for word in line.split()[1:])
        read += int(pairs.get("rbytes", 0))
        written += int(pairs.get("wbytes", 0))
    return read, written


def parse_io_service_bytes(text: str) -> tuple[int, int]:
    """`8:0 Read 1` lines (cgroup-v1/blkio-controller.rst)."""
    sums = {"Read": 0, "Write": 0}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in sums:
            sums[words[1]] += int(words[2])
    return sums["Read"], sums["Write"]


def _sum_of_blocks(pids: Iterable[int]) -> tuple[int, int]:
    read = written = 0
    for pid in pids:
        found = dict(line.partition(": ")[::2] for line in read_file(f"/proc/{pid}/io").splitlines())
        read += int(found.get("read_bytes", 0))
        written += int(found.get("write_bytes", 0))
    return read, written


def _network(pid: int) -> tuple[int, int]:
    """Bytes that came and went through the links of a process's network namespace, but for its loopback."""
    received = sent = 0
    for name, numbers in _links(read_file(f"/proc/{pid}/net/dev")):
        if name != "lo":
            received, sent = received + numbers[0], sent + numbers[8]
    return received, sent


def _links(text: str) -> Iterator[tuple[str, list[int]]]:
    """The lines of /proc/net/dev: a link and its sixteen counters (proc_pid_net(5))."""
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        numbers = rest.split()
        if colon and len(numbers) >= 16 and all(number.isdigit() for number in numbers):
            yield name.strip(), [int(number) for number in numbers]
