"""What a bind or volume shows, opened once: what is mounted is what was looked at, whoever exchanges it meanwhile."""

from __future__ import annotations

import os

from stackpy_runtime.errors import InvalidConfig, KernelError
from stackpy_runtime.linux import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.container.plan import MountPlan


def open_source(mount: MountPlan) -> int:
    """A descriptor (O_PATH) of a mount's source; raises InvalidConfig where there is none.

    A part of a volume is looked up as if the volume was the root of everything: containers write there, and a link that
    one of them makes leads nowhere else (CVE-2017-1002101, CVE-2021-25741).
    """
    source = mount["source"]
    try:
        opened = os.open(source, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        text = (error.strerror or "").lower()
        raise InvalidConfig(f"mount source {source}: {text}", hint="make it before, or use a named volume") from None
    if "within" not in mount:
        return opened
    try:
        return files.open_in_root(opened, mount["within"], os.O_PATH)
    except KernelError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise InvalidConfig(
            f"subpath `{mount['within']}` of the volume on {mount['target']}: {reason}", hint="make it before"
        ) from None
    finally:
        os.close(opened)
