"""The client's side of RUN steps: a Runner that has them carried out in the sandbox."""

from __future__ import annotations

import codecs
import os

from stackpy_runtime.store import mounted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy_runtime.build.runner import Output, StepRun
    from stackpy_runtime.host.client import Client


def run(client: Client, step: StepRun, output: Output) -> int:
    """Runs a step; `output` gets what it prints, as it comes. Returns its exit code."""
    if step.shell:
        return _shell(client, step)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        connection = client.request("step", _arguments(step), (writing,))
    finally:
        os.close(writing)
    try:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while data := os.read(reading, 65536):
            output(decoder.decode(data))
        return int(client.result(connection)["exit_code"])
    finally:
        os.close(reading)
        connection.close()


def _arguments(step: StepRun) -> dict[str, Any]:
    mounts = [
        {**mount, "layers": [mounted.source(path) for path in mount["layers"]]} if "layers" in mount else mount
        for mount in step.mounts
    ]
    return {**step._asdict(), "layers": [mounted.source(path) for path in step.layers], "mounts": mounts}


def _shell(client: Client, step: StepRun) -> int:
    """A shell where the step would run, on our terminal. The step itself is a shell that waits for input meanwhile."""
    from stackpy_runtime.host.exec_client import execute

    identity = os.urandom(32).hex()
    arguments = {**_arguments(step), "argv": [step.shell], "identity": identity}
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            connection = client.request("step", arguments, (null, reading))
        finally:
            os.close(null)
            os.close(reading)
        try:
            answer, _ = connection.receive()
            if "running" not in answer:
                return int(client.unwrap(answer)["exit_code"])
            code = execute(
                client,
                {
                    "container": identity,
                    "argv": [step.shell],
                    "stdin": True,
                    "tty": True,
                    "environment": {"TERM": os.environ.get("TERM", "xterm")},
                    "working_dir": step.working_dir,
                    "user": step.user,
                },
            )
            os.close(writing)
            writing = -1
            client.result(connection)
            return code or 0
        finally:
            connection.close()
    finally:
        if writing >= 0:
            os.close(writing)
