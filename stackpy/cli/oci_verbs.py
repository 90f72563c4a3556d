"""The verbs of `stackpy oci` with runc's options, as tables."""

from __future__ import annotations

from stackpy.cli import oci_running, oci_showing
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.quantities import seconds

IDENTITY = Argument("ID", help="the container's ID")
BUNDLE = Option("-b", "--bundle", metavar="DIR", default=".", help="the folder of config.json (default: here)")
CONSOLE = Option("--console-socket", metavar="SOCKET", default="", help="where the terminal is sent to")
PID_FILE = Option("--pid-file", metavar="FILE", default="", help="where the process's PID is written")
PIDFD = Option("--pidfd-socket", metavar="SOCKET", default="", help="where a pidfd of the process is sent to")
DESCRIPTORS = Option(
    "--preserve-fds", metavar="N", convert=int, default=0, help="so many descriptors from 3 on are the program's"
)
DETACH = Option("-d", "--detach", help="do not wait for its end")
CREATING = (
    BUNDLE,
    CONSOLE,
    PID_FILE,
    PIDFD,
    Option("--no-pivot", help="cover the root instead of exchanging it, for hosts that run from a ramdisk"),
    Option("--no-new-keyring", help="keep the caller's session keyring"),
    DESCRIPTORS,
)
FORMAT = Option("-f", "--format", metavar="FORMAT", choices=("table", "json"), default="table", help="table or json")
LIMITS = (
    ("--blkio-weight", "blockIO.weight", "weight of block devices, 10 to 1000"),
    ("--cpu-period", "cpu.period", "CPU period in microseconds"),
    ("--cpu-quota", "cpu.quota", "CPU time of a period in microseconds"),
    ("--cpu-burst", "cpu.burst", "CPU time that may be saved up, in microseconds"),
    ("--cpu-share", "cpu.shares", "relative share of CPU time"),
    ("--cpu-rt-period", "cpu.realtimePeriod", "real-time period in microseconds"),
    ("--cpu-rt-runtime", "cpu.realtimeRuntime", "real-time CPU time of a period in microseconds"),
    ("--cpuset-cpus", "cpu.cpus", "CPUs to run on"),
    ("--cpuset-mems", "cpu.mems", "memory nodes to use"),
    ("--cpu-idle", "cpu.idle", "1: only when nothing else wants the CPU"),
    ("--kernel-memory", "memory.kernel", "kernel memory"),
    ("--kernel-memory-tcp", "memory.kernelTCP", "memory of TCP buffers"),
    ("--memory", "memory.limit", "memory"),
    ("--memory-reservation", "memory.reservation", "memory that is left when it runs short"),
    ("--memory-swap", "memory.swap", "memory and swap together, -1 for no limit"),
    ("--pids-limit", "pids.limit", "processes, -1 for no limit"),
    ("--l3-cache-schema", "intelRdt", "refused: no cache allocation"),
    ("--mem-bw-schema", "intelRdt", "refused: no bandwidth allocation"),
)
REFUSED = {
    "checkpoint": "checkpointing is not supported",
    "restore": "restoring a checkpoint is not supported",
}


def _example(line: str, text: str) -> list[tuple[str, str]]:
    return [(f"stackpy oci {line}", text)]


_ALL = (
    Command(
        "oci create",
        "Create a container of a bundle; its program waits for start",
        oci_running.create,
        options=CREATING,
        arguments=[IDENTITY],
        examples=_example("create -b bundle web", "the container `web` of bundle/config.json"),
    ),
    Command(
        "oci start",
        "Start the program of a created container",
        oci_running.start,
        arguments=[IDENTITY],
        examples=_example("start web", "its process executes its program"),
    ),
    Command(
        "oci run",
        "Create and start a container, and delete it when it has ended",
        oci_running.run,
        options=[
            *CREATING,
            DETACH,
            Option("--keep", help="do not delete it at its end"),
            Option("--no-subreaper", help="accepted: only without --detach are orphans adopted"),
        ],
        arguments=[IDENTITY],
        examples=_example("run -b bundle web", "in the foreground, with its exit code"),
    ),
    Command(
        "oci exec",
        "Start another process in a container",
        oci_running.execute,
        options=[
            Option("-p", "--process", metavar="FILE", default="", help="the process as JSON"),
            Option("-t", "--tty", help="with a terminal"),
            Option("--cwd", metavar="DIR", default="", help="working folder"),
            Option("-e", "--env", metavar="NAME=VALUE", many=True, help="a variable"),
            Option("-u", "--user", metavar="UID[:GID]", default="", help="who it runs as"),
            Option("-g", "--additional-gids", metavar="GID", many=True, convert=int, help="a further group"),
            Option("-c", "--cap", metavar="CAP", many=True, help="a capability besides the container's"),
            Option("--no-new-privs", help="nothing it executes gains rights"),
            Option("--apparmor", metavar="PROFILE", default="", help="AppArmor profile"),
            Option("--process-label", metavar="LABEL", default="", help="SELinux label"),
            Option("--cgroup", metavar="PATH", default="", help="a control group below the container's"),
            Option("--ignore-paused", help="also in a container that is paused; it waits with it"),
            CONSOLE,
            PID_FILE,
            PIDFD,
            DESCRIPTORS,
            DETACH,
        ],
        arguments=[IDENTITY, Argument("COMMAND", help="what to execute", rest=True, optional=True)],
        examples=_example("exec -t web sh", "a shell in it"),
    ),
    Command(
        "oci kill",
        "Signal the first process of a container",
        oci_running.kill,
        options=[Option("-a", "--all", help="all its processes")],
        arguments=[IDENTITY, Argument("SIGNAL", help="name or number (default: TERM)", optional=True)],
        examples=_example("kill web KILL", "ends it"),
    ),
    Command(
        "oci delete",
        "Delete a stopped container",
        oci_running.delete,
        options=[Option("-f", "--force", help="also one that runs")],
        arguments=[IDENTITY],
        examples=_example("delete --force web", "whatever it does"),
    ),
    Command(
        "oci pause",
        "Hold all processes of a container where they are",
        oci_running.pause,
        arguments=[IDENTITY],
        examples=_example("pause web", "until resume"),
    ),
    Command(
        "oci resume",
        "Have them go on",
        oci_running.resume,
        arguments=[IDENTITY],
        examples=_example("resume web", "after pause"),
    ),
    Command(
        "oci update",
        "Change limits of a container",
        oci_running.update,
        options=[
            Option(
                "-r", "--resources", metavar="FILE", default="", help="linux.resources as JSON, `-`: standard input"
            ),
            *(Option(name, metavar="VALUE", help=text) for name, _, text in LIMITS),
        ],
        arguments=[IDENTITY],
        examples=_example("update --memory 512m web", "half a GiB from now on"),
    ),
    Command(
        "oci state",
        "Show the state of a container as JSON",
        oci_showing.state,
        arguments=[IDENTITY],
        examples=_example("state web", "created, running, paused or stopped, with its PID"),
    ),
    Command(
        "oci list",
        "List containers",
        oci_showing.list_all,
        options=[FORMAT, Option("-q", "--quiet", help="their IDs alone")],
        examples=_example("list -f json", "all that are under this --root"),
    ),
    Command(
        "oci ps",
        "List the processes of a container",
        oci_showing.processes,
        options=[FORMAT],
        arguments=[IDENTITY, Argument("OPTIONS", help="options of ps(1) (default: -ef)", rest=True, optional=True)],
        examples=_example("ps -f json web", "their PIDs on this host"),
    ),
    Command(
        "oci events",
        "Show what a container uses, and when its memory ran out",
        oci_showing.events,
        options=[
            Option(
                "--interval", metavar="TIME", convert=seconds, default=5.0, help="between two reports (default: 5s)"
            ),
            Option("--stats", help="one report"),
        ],
        arguments=[IDENTITY],
        examples=_example("events --stats web", "one JSON document"),
    ),
    Command(
        "oci spec",
        "Write a config.json to begin with",
        oci_showing.spec,
        options=[BUNDLE, Option("--rootless", help="refused: containers are run by root")],
        examples=_example("spec -b bundle", "a shell in bundle/rootfs"),
    ),
    Command(
        "oci features",
        "Show what this runtime knows as JSON",
        oci_showing.features,
        examples=_example("features", "namespaces, mount options, seccomp actions …"),
    ),
)
VERBS = {command.name.removeprefix("oci "): command for command in _ALL}
