"""Names that users type → containers, and one action on many of them."""

from __future__ import annotations

from stackpy.cli.failures import print_error
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stackpy.cli.context import Context


class Unknown(StackpyError):
    """No container has that name."""


def containers(context: Context, name: str) -> list[str]:
    """The containers that a name means: a resource of this folder's stack (`web`, `web.2`), a container's name or ID.

    Raises Unknown with the nearest name that exists.
    """
    engine = context.engine()
    found = engine.find(name, context.stack_name())
    if found:
        return found
    from stackpy.cli.parsing import nearest

    rows = engine.ps(None, True)
    own = [str(row["resource"]).partition(".")[2] for row in rows if row["stack"] == context.stack_name()]
    close = nearest(name, [*own, *(str(row["name"]) for row in rows)])
    meant = f"did you mean `{close}`? " if close else ""
    raise Unknown(f"no container is called `{name}`", hint=f"{meant}`stackpy ps` lists the containers")


def one(context: Context, name: str) -> str:
    """The one container that a name means; of several replicas the first that runs."""
    found = containers(context, name)
    if len(found) == 1:
        return found[0]
    running = {row["name"] for row in context.engine().ps(None, False)}
    return next((each for each in found if each in running), found[0])


def for_each(
    context: Context,
    names: Sequence[str],
    action: Callable[[str], object],
    *,
    say: bool = True,
    missing_fails: bool = True,
) -> int:
    """Acts on all containers that the names mean, at once, since each may take a grace period; 1 if one failed.

    say: print the word that the user typed once it is done, as docker does
    missing_fails: a name that means nothing is a failure, not just said
    """
    failed = False
    targets: list[tuple[str, list[str]]] = []
    for name in names:
        try:
            targets.append((name, containers(context, name)))
        except StackpyError as error:
            print_error(error.message, error.hint)
            failed = failed or missing_fails or not isinstance(error, Unknown)
    everyone = list(dict.fromkeys(container for _, found in targets for container in found))
    errors = _at_once(everyone, action)
    for name, found in targets:
        bad = [errors[container] for container in found if container in errors]
        for failure in bad:
            print_error(failure.message, failure.hint)
        failed = failed or bool(bad)
        if say and not bad:
            print(name)
    return int(failed)


def _at_once(names: Sequence[str], action: Callable[[str], object]) -> dict[str, StackpyError]:
    """Runs the action for each name; the errors by name."""
    errors: dict[str, StackpyError] = {}

    def act(name: str) -> None:
        try:
            action(name)
        except StackpyError as error:
            errors[name] = error

    if len(names) < 2:
        for name in names:
            act(name)
        return errors
    import threading  # 3 ms, only for several

    threads = [threading.Thread(target=act, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors
