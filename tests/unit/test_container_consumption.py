"""What a container uses, read from the files of both versions of control groups and from /proc."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpy.cli import stats_rows
from stackpy.cli.commands import top
from stackpy.errors import StackpyError
from stackpy_runtime.container import consumption
from stackpy_runtime.container.cgroups import Group, Layout


def tree(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_version_2(tmp_path: Path) -> None:
    group = Group("stackpy-x", "c", Layout(2, {"": str(tmp_path)}))
    tree(
        tmp_path / "stackpy-x/c",
        {
            "cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n",
            "memory.current": "5000\n",
            "memory.stat": "anon 3000\ninactive_file 1500\nactive_file 500\n",
            "memory.max": "100000\n",
            "pids.current": "3\n",
            "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=1\n8:16 rbytes=1 wbytes=2\n254:0 \n",
            "cgroup.procs": "11\n12\n",
            "inner/cgroup.procs": "13\n",
        },
    )
    used = consumption.read(group, 0, own_network=True)
    assert {**used, "time": 0} == {
        "time": 0, "cpu": 1_500_000, "memory": 3500, "memory_limit": 100_000, "pids": 3, "block_read": 11,
        "block_write": 22, "network_rx": 0, "network_tx": 0,
    }  # fmt: skip
    assert consumption.processes(group) == [11, 12, 13]


def test_version_1(tmp_path: Path) -> None:
    mounts = {name: f"{tmp_path}/{name}" for name in ("memory", "cpu", "pids", "blkio")}
    group = Group("stackpy-x", "c", Layout(1, mounts))
    tree(tmp_path / "memory/stackpy-x/c", {
        "memory.usage_in_bytes": "5000\n", "memory.limit_in_bytes": "9223372036854771712\n",
        "memory.stat": "cache 1\ntotal_inactive_file 2000\n",
    })  # fmt: skip
    tree(tmp_path / "pids/stackpy-x/c", {"pids.current": "2\n", "cgroup.procs": ""})
    tree(tmp_path / "blkio/stackpy-x/c", {
        "blkio.throttle.io_service_bytes_recursive": "8:0 Read 7\n8:0 Write 9\n8:0 Total 16\n8:16 Read 1\nTotal 17\n",
    })  # fmt: skip
    used = consumption.read(group, 0, own_network=False)
    assert (used["memory"], used["pids"], used["block_read"], used["block_write"]) == (3000, 2, 8, 9)
    # Without a limit it is what the host has.
    assert 1 << 20 < used["memory_limit"] < 1 << 50
    # Nothing counts the processor here, and there are no processes.
    assert used["cpu"] == 0


def test_processes_are_counted_where_no_controller_does(tmp_path: Path) -> None:
    import os

    mounts = {"pids": f"{tmp_path}/pids"}
    tree(tmp_path / "pids/stackpy-x/c", {"cgroup.procs": f"{os.getpid()}\n"})
    used = consumption.read(Group("stackpy-x", "c", Layout(1, mounts)), 0, own_network=False)
    assert (used["pids"], used["cpu"] > 0) == (1, True)


ROW = {"id": "0123456789abcdef", "name": "web", "stack": None, "resource": None}
BEFORE = {
    "time": 10**9, "cpu": 10**9, "memory": 0, "memory_limit": 2 << 30, "pids": 1, "block_read": 0, "block_write": 0,
    "network_rx": 0, "network_tx": 0,
}  # fmt: skip
NOW = {
    "time": 2 * 10**9, "cpu": 25 * 10**8, "memory": 3 << 19, "memory_limit": 2 << 30, "pids": 4, "block_read": 1234,
    "block_write": 0, "network_rx": 5_600_000, "network_tx": 999,
}  # fmt: skip


def test_figures_as_docker_writes_them() -> None:
    figures = stats_rows.row(ROW, BEFORE, NOW)
    assert (figures["cpu_percent"], figures["memory_percent"]) == (150.0, 0.07)
    assert stats_rows.fields(figures) == {
        "Container": "web", "ID": "0123456789ab", "Name": "web", "CPUPerc": "150.00%",
        "MemUsage": "1.5MiB / 2GiB", "MemPerc": "0.07%", "NetIO": "5.6MB / 999B", "BlockIO": "1.23kB / 0B", "PIDs": "4",
    }  # fmt: skip
    assert stats_rows.HEADS.keys() == stats_rows.fields(figures).keys()


def test_figures_of_what_does_not_run() -> None:
    fields = stats_rows.fields(stats_rows.row(ROW, None, None))
    assert [fields[key] for key in ("CPUPerc", "MemUsage", "NetIO", "PIDs")] == ["--", "-- / --", "-- / --", "--"]
    # One that has been started again counts from nothing on.
    assert stats_rows.processor({**BEFORE, "cpu": 10**12}, NOW) == 250.0
    assert stats_rows.processor(None, NOW) is None


def test_more_processes_than_an_argument_can_name() -> None:
    listing = top._listing(("-e", "-o", "pid,comm"), range(10**6, 10**6 + 50_000))
    assert listing.splitlines()[0].split() == ["PID", "COMMAND"]


PS = """\
UID          PID    PPID  C STIME TTY          TIME CMD
root         100       1  0 10:00 ?        00:00:00 sh -c sleep 1; true
root         200       1  0 10:00 ?        00:00:00 other
1000         101     100  0 10:00 ?        00:00:00 sleep 1
"""


def test_the_rows_of_a_container_in_the_listing_of_ps() -> None:
    heads, rows = top.processes(PS, [100, 101])
    assert heads == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert [row[-1] for row in rows] == ["sh -c sleep 1; true", "sleep 1"]
    with pytest.raises(StackpyError, match="no column PID"):
        top.processes("CMD\nsh\n", [100])
    # Threads stand below their process.
    threads = "PID COMMAND\n100 a\n- -\n200 b\n- -\n"
    assert top.processes(threads, [100])[1] == [["100", "a"], ["-", "-"]]
