"""The methods of Image that only write its configuration; each is an instruction of a Dockerfile."""

from __future__ import annotations

from stackpy.dsl import instructions, kernel_names, values
from stackpy.dsl.binding import checked
from stackpy.dsl.calls import caller
from stackpy.dsl.session import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Self

    from stackpy.dsl.calls import Call
    from stackpy.dsl.files import Content
    from stackpy.dsl.images import Step
    from stackpy.dsl.probes import HealthCheck

Scalar = str | int | float | bool


class Settings:
    """Mixed into Image."""

    __slots__ = ()

    if TYPE_CHECKING:
        _steps: tuple[Step, ...]

        def _then(
            self, instruction: str, written: str, call: Call, content: Content | None = None, **fields: Any
        ) -> Self:
            """The image after one more step."""

    def env(self, mapping: Mapping[str, Scalar] | None = None, /, **variables: Scalar) -> Self:
        """Environment variables, as keywords or as a mapping."""
        return self._pairs("env", mapping, variables)

    def label(self, mapping: Mapping[str, Scalar] | None = None, /, **variables: Scalar) -> Self:
        """Labels, as keywords or as a mapping."""
        return self._pairs("label", mapping, variables)

    def _pairs(self, instruction: str, mapping: object, variables: dict[str, Any]) -> Self:
        call = caller(("mapping",))
        place = Place(call, f"`{instruction}`")
        result: dict[str, str] | None = {}
        if mapping is not None:
            parser = values.labels if instruction == "label" else instructions.variables
            result = place.item("mapping").parse(parser, mapping)
        for key, value in variables.items():
            valid = place.item(key).parse(values.scalar, value)
            result = None if result is None or valid is None else {**result, key: valid}
        if result == {}:
            place.report(f"`{instruction}` sets nothing", f'as in .{instruction}(NAME="value")')
            return self
        listed = " ".join(f"{key}={instructions.quoted(value)}" for key, value in (result or {}).items())
        return self._then(instruction, f"{instruction.upper()} {listed}", call, values=result)

    @checked("`user`", lambda self, *_: self)
    def user(self, user: str | int) -> Self:
        """Who runs later steps and the container's process: a name or ID, alone or with `:` and a group."""
        call = caller(("user",))
        value = Place(call, "`user`", ("user",)).parse(values.user, user)
        return self._then("user", f"USER {value}", call, value=value)

    def expose(self, *ports: int | str) -> Self:
        """Ports on which the container listens: 80, "53/udp". Informs; publishes nothing."""
        call = caller()
        place = Place(call, "`expose`")
        values = [place.item(index).parse(instructions.exposed, port) for index, port in enumerate(ports)]
        if not values:
            place.report("`expose` names no port", "as in .expose(80)")
        if not values or None in values:
            return self
        return self._then("expose", f"EXPOSE {' '.join(values)}", call, ports=values)

    @checked("`entrypoint`", lambda self, *_: self)
    def entrypoint(self, command: str | Sequence[str]) -> Self:
        """The program that a container always starts; a line is run by /bin/sh."""
        return self._program("entrypoint", command)

    @checked("`cmd`", lambda self, *_: self)
    def cmd(self, command: str | Sequence[str]) -> Self:
        """The default command, or the entry point's default arguments; a line is run by /bin/sh."""
        return self._program("cmd", command)

    def _program(self, instruction: str, command: object) -> Self:
        call = caller(("command",))
        parser = instructions.vector if isinstance(command, list | tuple) else self._line
        argv = Place(call, f"`{instruction}`", ("command",)).parse(parser, command)
        return self._then(instruction, f"{instruction.upper()} {instructions.written(command, argv)}", call, argv=argv)

    def volume(self, *paths: str) -> Self:
        """Folders whose files belong to no image: each container gets a volume there."""
        call = caller()
        place = Place(call, "`volume`")
        targets = [place.item(index).parse(values.below_root, path) for index, path in enumerate(paths)]
        if not targets:
            place.report("`volume` names no folder", 'as in .volume("/data")')
        if not targets or None in targets:
            return self
        listed = ", ".join(f'"{target}"' for target in targets)
        return self._then("volume", f"VOLUME [{listed}]", call, targets=targets)

    @checked("`healthcheck`", lambda self, *_: self)
    def healthcheck(self, test: HealthCheck | str | Sequence[str] | None) -> Self:
        """How a container's health is asked: a command, or a `HealthCheck` with one; None takes away the base's."""
        call = caller(("test",))
        place = Place(call, "`healthcheck`", ("test",))
        if test is None:
            return self._then("healthcheck", "HEALTHCHECK NONE", call, healthcheck={"Test": ["NONE"]})
        from stackpy.dsl import probes

        found = probes.for_image(place, test, self._line)
        if found is None:
            return self
        mode, *command = found["Test"]
        shown = command[0] if mode == "CMD-SHELL" else instructions.written(None, command)
        return self._then("healthcheck", f"HEALTHCHECK CMD {shown}", call, healthcheck=found)

    @checked("`stop_signal`", lambda self, *_: self)
    def stop_signal(self, signal: str | int) -> Self:
        """The signal that asks the container's process to end: "SIGQUIT"."""
        call = caller(("signal",))
        value = Place(call, "`stop_signal`", ("signal",)).parse(kernel_names.signal, signal)
        return self._then("stopsignal", f"STOPSIGNAL {value}", call, value=value)

    def shell(self, *argv: str) -> Self:
        """The program that runs the command lines of later steps, and of health checks: "/bin/bash", "-c"."""
        call = caller()
        place = Place(call, "`shell`")
        if not argv:
            place.report("`shell` names no program", 'as in .shell("/bin/bash", "-c")')
            return self
        words = [place.item(index).parse(values.text, word) for index, word in enumerate(argv)]
        if None in words:
            return self
        return self._then("shell", f"SHELL {instructions.written(None, words)}", call, argv=words)

    @checked("`on_build`", lambda self, *_: self)
    def on_build(self, instruction: str) -> Self:
        """What a Dockerfile that stands on this image does first: an instruction of a Dockerfile, as text."""
        call = caller(("instruction",))
        value = Place(call, "`on_build`", ("instruction",)).parse(instructions.trigger, instruction)
        return self._then("onbuild", f"ONBUILD {value}", call, value=value)

    def _line(self, command: object) -> list[str]:
        """An argument vector: a list, or a line for the shell that was named last."""
        argv = values.shell(command)
        shells = [step.fields["argv"] for step in self._steps if step.instruction == "shell"]
        return [*shells[-1], argv[-1]] if shells and isinstance(command, str) else argv
