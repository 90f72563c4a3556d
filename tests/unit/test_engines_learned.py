"""What was learned of a container, as fields to paste."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from stackpy.engines import learned
from stackpy_runtime.host import learner

LEARNED: dict[str, Any] = {
    "calls": ["execve", "read"], "architectures": [], "capabilities": ["SETUID", "CHOWN"], "ended": True,
}  # fmt: skip
PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "syscalls": [
        {
            "names": ["execve", "exit", "exit_group", "read", "restart_syscall", "rt_sigreturn"],
            "action": "SCMP_ACT_ALLOW",
        }
    ],
}


def _pasted(text: str) -> dict[str, Any]:
    call: Any = ast.parse(f"f({text})", mode="eval").body
    return {word.arg: ast.literal_eval(word.value) for word in call.keywords}


def test_the_text_is_python_that_says_the_fields() -> None:
    config = {"name": "web", "security_opt": ["label=disable", "seccomp={}"]}
    fields = learned.fields(LEARNED, config)
    assert fields["cap_drop"] == ["ALL"] and fields["cap_add"] == ["CHOWN", "SETUID"]
    assert fields["security_opt"][0] == "label=disable"
    assert json.loads(fields["security_opt"][1].removeprefix("seccomp=")) == PROFILE
    text = learned.text(LEARNED, config)
    assert text.startswith("# web has used 2 system calls and 2 capabilities\n")
    assert _pasted(text) == fields


def test_many_calls_fit_lines() -> None:
    many = {**LEARNED, "calls": [f"call_{number}" for number in range(300)]}
    text = learned.text(many, {"name": "web"})
    assert max(len(line) for line in text.splitlines()) <= 120
    assert _pasted(text) == learned.fields(many, {"name": "web"})


def test_what_the_kernel_does_not_tell_is_said() -> None:
    text = learned.text(
        {**LEARNED, "capabilities": None, "ended": False, "calls": ["read", "number 999"]}, {"name": "web"}
    )
    assert "Linux 6.14" in text and "until now" in text and "number 999" in text.splitlines()[2]
    assert set(_pasted(text)) == {"security_opt"}
    assert "999" not in _pasted(text)["security_opt"][0]


def test_other_architectures_are_in_the_profile() -> None:
    fields = learned.fields({**LEARNED, "architectures": ["0x40000003"]}, {"name": "web"})
    profile = json.loads(fields["security_opt"][0].removeprefix("seccomp="))
    assert profile["architectures"] == ["SCMP_ARCH_NATIVE", "SCMP_ARCH_X86"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sh-7 [1] ..... 1.0: cap_capable: cred 1, target_ns 2, capable_ns 3, cap 21, ret 0", [(21, "3")]),
        ("sh-7 [1] ..... 1.0: cap_capable: cred 1, target_ns 2, capable_ns 3, cap 21, ret -1", []),
        ("CPU:0 [LOST 5 EVENTS]", []),
        ("", []),
    ],
)
def test_lines_of_the_tracepoint(line: str, expected: list[tuple[int, str]]) -> None:
    assert learner.events_in(line) == expected


def test_a_notebook_goes_on_from_an_earlier_run(tmp_path: Path) -> None:
    path = str(tmp_path / "learned")
    first = learner.Notebook(path, tells_capabilities=True)
    first.calls.add("read")
    first.capabilities.add("CHOWN")
    first.write(ended=True)
    second = learner.Notebook(path, tells_capabilities=True)
    second.calls.add("write")
    second.write(ended=False)
    assert json.loads(Path(path).read_text()) == {
        "calls": ["read", "write"], "architectures": [], "capabilities": ["CHOWN"], "ended": False,
    }  # fmt: skip
    assert learner.Notebook(path, tells_capabilities=False).tells_capabilities is False
