"""Dockerfile instructions that change an image's configuration alone: `--change` of `commit` and `import`."""

from __future__ import annotations

from stackpy_runtime.build import settings
from stackpy_runtime.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from stackpy_runtime.model import ImageConfig

_ALLOWED = frozenset("cmd entrypoint env expose healthcheck label onbuild stopsignal user volume workdir".split())


def changed(config: ImageConfig, instructions: Sequence[str]) -> ImageConfig:
    """The configuration after Dockerfile lines (`CMD ["sh"]`); raises InvalidConfig with all that is wrong in them."""
    if not instructions:
        return config
    from stackpy_runtime import dockerfile  # its grammar costs 15 ms

    compiled = dockerfile.compile(
        "\n".join(["FROM base", *instructions]),
        name="--change",
        context="/",
        build_args={},
        config_of=lambda base: config,
        contexts={},
    )
    own_cmd = False
    for step in compiled.source["steps"]:
        kind = step["instruction"]
        if kind not in _ALLOWED:
            raise InvalidConfig(
                f"`{step['text']}` cannot be a change", hint=f"one of {', '.join(sorted(_ALLOWED)).upper()}"
            )
        config = settings.apply(config, step, own_cmd)
        own_cmd = own_cmd or kind == "cmd"
    return config
