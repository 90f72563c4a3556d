"""What RUN steps may have of the host's, by leave of whoever builds: BuildKit's entitlements."""

from __future__ import annotations

from stackpy_runtime.errors import Denied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.model import BuildOptions, ImageSource

_LEAVES = (
    ("security", "insecure", "security.insecure", "`--security=insecure` gives a step the host's rights"),
    ("network", "host", "network.host", "`--network=host` shows a step the host's network"),
)


def refuse(source: ImageSource, options: BuildOptions) -> None:
    """Raises Denied for all steps of an image and its stages that ask for more than the options allow.

    As in BuildKit also for those whose results are there: what is refused must not depend on what was built before.
    """
    allowed = options.get("allow", [])
    problems: dict[str, None] = {}
    lacking: dict[str, None] = {}
    for each in (source, *source.get("stages", {}).values()):
        for step in each["steps"]:
            for field, value, name, text in _LEAVES:
                if step.get(field) == value and step["instruction"] == "run" and name not in allowed:
                    problems[f"{step['line']}: {text}" if step["line"] else text] = None
                    lacking[name] = None
    if problems:
        flags = " ".join(f"--allow {name}" for name in lacking)
        names = ", ".join(f'"{name}"' for name in lacking)
        raise Denied("\n".join(problems), hint=f"allow it: `{flags}`, or allow=[{names}] of `Image.dockerfile`")
