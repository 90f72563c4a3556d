"""The engine as an OCI runtime, for `stackpy oci`: its errors end here, like embedded.py's."""

from __future__ import annotations

from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Document = dict[str, Any]


class OciRuntime:
    """stackpy_runtime.oci.runtime.Runtime; every method of that raises StackpyError here."""

    def __init__(self, root: str, warn: Callable[[str], None]) -> None:
        from stackpy.engines.border import require_rights
        from stackpy_runtime.errors import EngineError
        from stackpy_runtime.oci.runtime import Runtime

        require_rights()
        self._runtime, self._error = Runtime(root, warn), EngineError

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._runtime, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            except self._error as error:
                failed = StackpyError(str(error), hint=str(getattr(error, "hint", "")))
                raise failed from error
            except BrokenPipeError:
                raise
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                where = f"`{error.filename}`: " if error.filename else ""
                raise StackpyError(f"{where}{reason}") from error

        return call

    def process(self, arguments: list[str], **fields: Any) -> Callable[[Document], Document]:
        """What `exec` starts, by its options: the container's document → the process's."""
        from stackpy_runtime.errors import EngineError
        from stackpy_runtime.oci.executing import process_document

        def made(document: Document) -> Document:
            try:
                return process_document(document, arguments, **fields)
            except EngineError as error:
                raise StackpyError(str(error), hint=str(getattr(error, "hint", ""))) from error

        return made


def creating_options(**fields: Any) -> Any:
    """stackpy_runtime.oci.creating.Options."""
    from stackpy_runtime.oci.creating import Options

    return Options(**fields)


def executing_options(**fields: Any) -> Any:
    """stackpy_runtime.oci.executing.Options."""
    from stackpy_runtime.oci.executing import Options

    return Options(**fields)
