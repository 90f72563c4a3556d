"""The walk over a plan's graph, on an engine at the port that notes what is asked of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from stackpy.applying import Interrupts, Outcome, destroy, execute, outcome_text
from stackpy.dsl.specs import Dependency, Spec, StackSpec
from stackpy.engines.events import Event
from stackpy.errors import ApplyFailed, StackpyError
from stackpy.planning.plan import Action, Change, Desired, Observation, Observed, Plan, Recipe, Replica
from stackpy.problems import Location

NOWHERE = Location("stack.py", 1)
LONG = 20.0  # seconds before a test that hangs fails


class Engine:
    """Notes each call. `during` runs inside a perform, `when` inside a wait; both may raise."""

    name = "fake"

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.lock = threading.Lock()
        self.during: dict[str, Callable[[], object]] = {}
        self.when: dict[str, Callable[[], object]] = {}
        self.now: dict[str, str] = {}  # address → status
        self.records: list[tuple[str, int, Mapping[str, Any]]] = []
        self.told: tuple[Plan, int] | None = None

    def note(self, call: str) -> None:
        with self.lock:
            self.calls.append(call)

    def expect(self, plan: Plan) -> None:
        self.told = (plan, len(self.calls))  # and how many calls there were before

    def perform(self, change: Change, desired: Any, secrets: Any, generation: int, report: Any) -> None:
        self.note(f"begin {change.address}")
        self.during.get(change.address, lambda: None)()
        self.note(f"end {change.address}")

    def wait(self, stack: str, spec: Spec, condition: str, timeout: float, report: Any) -> None:
        self.note(f"wait {spec.address} {condition}")
        report(Event(spec.address, "waiting", "not to be shown"))
        self.when.get(f"{spec.address} {condition}", lambda: None)()
        self.note(f"met {spec.address} {condition}")

    def observe(self, stack: str) -> Observation:
        self.note("observe")
        replicas = {
            address: (Replica(1, "", "", status, "", 4, 0.0, "", {}, {}),) for address, status in self.now.items()
        }
        resources = {a: Observed("container", a.partition(".")[2], {}, {}, found) for a, found in replicas.items()}
        return Observation(stack, self.name, 4, resources, {}, frozenset(), {})

    def begin(self, stack: str, document: Mapping[str, Any]) -> None:
        self.begun = document

    def record(self, stack: str, generation: int, document: Mapping[str, Any]) -> None:
        self.records.append((stack, generation, document))

    def recorded(self, stack: str) -> Mapping[str, Any] | None:
        return self.records[-1][2] if self.records else None


def spec(address: str, needs: Mapping[str, str] | None = None, **fields: Any) -> Spec:
    kind, _, name = address.partition(".")
    dependencies = tuple(Dependency(*pair) for pair in (needs or {}).items())  # type: ignore[arg-type]
    return Spec(kind, name, fields, dependencies, NOWHERE)  # type: ignore[arg-type]


def change(address: str, *needs: str, action: Action = Action.CREATE) -> Change:
    return Change(address, action, (), depends_on=needs)


def run(engine: Engine, changes: list[Change], specs: list[Spec], **options: Any) -> Outcome:
    stack = StackSpec("shop", {each.address: each for each in specs}, {"url": "http://x"}, "/")
    desired = Desired(stack, {"image.a": Recipe("r", ())}, {})
    events: list[Event] = options.pop("events", [])
    plan = Plan("shop", "fake", 5, tuple(changes))
    return execute(plan, desired, None, engine, report=events.append, **options)  # type: ignore[arg-type]


def fail(message: str, hint: str = "") -> Callable[[], None]:
    def failing() -> None:
        raise StackpyError(message, hint=hint)

    return failing


def test_what_is_independent_runs_at_once() -> None:
    engine = Engine()
    meeting = threading.Barrier(3, timeout=LONG)
    for address in ("image.a", "volume.b", "container.c"):
        engine.during[address] = lambda: meeting.wait()
    run(engine, [change("image.a"), change("volume.b"), change("container.c")], [spec("container.c")], wait=False)
    assert sorted(engine.calls[:3]) == ["begin container.c", "begin image.a", "begin volume.b"]
    assert engine.told is not None and len(engine.told[0].changes) == 3 and engine.told[1] == 0


def test_dependents_come_after_and_conditions_are_waited_for() -> None:
    engine = Engine()
    outcome = run(
        engine,
        [
            change("image.a", action=Action.BUILD),
            change("container.db", "image.a"),
            change("container.web", "image.a", "container.db"),
        ],
        [
            spec("container.db"),
            spec("container.web", {"container.db": "healthy", "container.old": "started", "job.seed": "completed"}),
            spec("container.old"),
            spec("job.seed"),
        ],
    )
    calls = engine.calls
    assert calls[:3] == ["begin image.a", "end image.a", "begin container.db"]
    web = calls.index("begin container.web")
    # the two that do not change are waited for too
    assert {"met container.db healthy", "met container.old started", "met job.seed completed"} <= set(calls[:web])
    assert calls.index("wait container.db healthy") > calls.index("end container.db")
    assert calls[-1] == "met container.web healthy"
    assert outcome.ok and outcome.results == ("done", "done", "done")


def test_one_wait_serves_all_who_need_it() -> None:
    engine = Engine()
    needs = {"container.db": "healthy"}
    addresses = [f"container.c{number}" for number in range(5)]
    run(
        engine, [change(a) for a in addresses], [spec("container.db"), *(spec(a, needs) for a in addresses)], wait=False
    )
    assert engine.calls.count("wait container.db healthy") == 1
    assert {f"end {address}" for address in addresses} < set(engine.calls)


def test_changes_of_one_address_are_made_as_they_stand() -> None:
    engine = Engine()
    run(
        engine,
        [
            change("container.web", action=Action.DELETE),
            change("container.api", "container.web"),
            change("container.web", "container.api"),
        ],
        [spec("container.web"), spec("container.api")],
        wait=False,
    )
    assert [call for call in engine.calls if call.startswith("begin")] == [
        "begin container.web",
        "begin container.api",
        "begin container.web",
    ]


def test_a_failure_skips_dependents_and_lets_the_rest_finish() -> None:
    engine = Engine()
    failed = threading.Event()

    def fails() -> None:
        failed.set()
        raise StackpyError("step 2/2 RUN make: exited with 2\nmake: no rule", hint="look at the Makefile")

    engine.during["image.a"] = fails
    engine.during["image.b"] = lambda: failed.wait(LONG)
    events: list[Event] = []
    with pytest.raises(ApplyFailed) as caught:
        run(
            engine,
            [
                change("image.a", action=Action.BUILD),
                change("image.b", action=Action.BUILD),
                change("container.a", "image.a"),
                change("container.after", "container.a"),
                change("container.b", "image.b"),
            ],
            [spec("container.a"), spec("container.after"), spec("container.b")],
            events=events,
        )
    assert caught.value.message == (
        "generation 5 of shop: 1 failure, 2 skipped, 2 of 5 changes done\n"
        "  image.a: step 2/2 RUN make: exited with 2\n"
        "      make: no rule\n"
        "      hint: look at the Makefile\n"
        "  container.a: skipped, because image.a failed\n"
        "  container.after: skipped, because image.a failed"
    )
    assert caught.value.failures == {"image.a": "step 2/2 RUN make: exited with 2\nmake: no rule"}
    assert caught.value.exit_code == 1 and caught.value.hint
    assert "end container.b" in engine.calls and "begin container.a" not in engine.calls
    assert [(e.address, e.kind) for e in events if e.kind in ("failed", "skipped")] == [
        ("image.a", "failed"),
        ("container.a", "skipped"),
        ("container.after", "skipped"),
    ]
    [(stack, generation, document)] = engine.records
    assert (stack, generation, document["outcome"]) == ("shop", 5, "failed")
    assert (engine.begun["generation"], engine.begun["outcome"]) == (5, "killed"), "what it is, should it be"
    assert {each["result"] for each in engine.begun["changes"]} == {"unknown"}
    assert document["failures"] == {"image.a": "step 2/2 RUN make: exited with 2"}
    assert [each["result"] for each in document["changes"]] == ["failed", "done", "skipped", "skipped", "done"]


def test_a_condition_that_cannot_be_met_skips_who_waits_for_it() -> None:
    engine = Engine()
    engine.when["container.db healthy"] = fail("it exited with 1")
    with pytest.raises(ApplyFailed) as caught:
        run(
            engine,
            [change("container.web"), change("container.after", "container.web"), change("volume.a")],
            [spec("container.db"), spec("container.web", {"container.db": "healthy"}), spec("container.after")],
        )
    assert caught.value.failures == {"container.db": "it exited with 1"}
    assert engine.calls[-1] != "begin container.web" and "end volume.a" in engine.calls
    assert "container.after: skipped, because container.db failed" in caught.value.message


def test_what_was_started_must_become_healthy() -> None:
    engine = Engine()
    engine.when["container.web healthy"] = fail("unhealthy: connection refused\nTraceback: boom")
    with pytest.raises(ApplyFailed) as caught:
        run(engine, [change("container.web")], [spec("container.web")])
    assert caught.value.failures == {"container.web": "unhealthy: connection refused\nTraceback: boom"}
    assert engine.records[0][2]["outcome"] == "failed"


def test_what_died_while_the_rest_was_done_is_a_failure() -> None:
    engine = Engine()
    waits = iter([lambda: None, fail("it exited with 4")])
    engine.when["container.dies healthy"] = lambda: next(waits)()
    engine.when["container.lives healthy"] = lambda: None
    engine.during["image.slow"] = lambda: threading.Event().wait(0.2)
    engine.now = {"container.dies": "exited", "container.lives": "running"}
    addresses = ["container.dies", "container.lives"]
    with pytest.raises(ApplyFailed) as caught:
        run(engine, [*map(change, addresses), change("image.slow", *addresses)], [*map(spec, addresses)])
    assert caught.value.failures == {"container.dies": "it exited with 4"}
    assert engine.calls[-2:] == ["observe", "wait container.dies healthy"]


def test_no_wait_waits_for_conditions_only() -> None:
    engine = Engine()
    run(
        engine,
        [change("container.db"), change("container.web", "container.db")],
        [spec("container.db"), spec("container.web", {"container.db": "started"})],
        wait=False,
    )
    assert [call for call in engine.calls if call.startswith("wait")] == ["wait container.db started"]


def test_a_container_that_settles_slowly_holds_nothing_up() -> None:
    engine = Engine()
    built = threading.Event()
    addresses = [f"container.c{number}" for number in range(40)]
    for address in addresses:
        engine.when[f"{address} healthy"] = lambda: None if built.wait(LONG) else fail("the build never came")()
    engine.during["image.b"] = built.set
    outcome = run(
        engine,
        [*(change(address) for address in addresses), change("image.b", *addresses, action=Action.BUILD)],
        [spec(address, healthcheck={"tcp": 80}) for address in addresses],
    )
    assert outcome.ok


def test_long_waits_are_said_and_short_ones_are_not() -> None:
    engine = Engine()
    said = threading.Event()
    events: list[Event] = []
    engine.when["container.db healthy"] = lambda: said.wait(LONG)

    def report(event: Event) -> None:
        events.append(event)
        if event.kind == "waiting":
            said.set()

    stack = StackSpec(
        "shop",
        {s.address: s for s in (spec("container.db"), spec("container.web", {"container.db": "healthy"}))},
        {},
        "/",
    )
    plan = Plan("shop", "fake", 5, (change("container.web"),))
    execute(plan, Desired(stack, {}, {}), None, engine, report=report)  # type: ignore[arg-type]
    assert events == [
        Event("container.web", "waiting", "waiting until container.db is healthy"),
        Event("container.web", "started", "creating"),
        Event("container.web", "done", "created"),
    ]


# --- interrupts ---------------------------------------------------------------------------------------------------


def test_the_first_interrupt_finishes_what_runs_and_begins_nothing() -> None:
    engine, interrupts = Engine(), Interrupts()
    begun, told = threading.Event(), threading.Event()
    engine.during["image.a"] = lambda: (begun.set(), told.wait(LONG))

    def interrupt() -> None:
        begun.wait(LONG)
        interrupts.interrupt()
        told.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    changes = [change("image.a", action=Action.BUILD), change("container.a", "image.a")]
    outcome = run(engine, changes, [spec("container.a")], interrupts=interrupts)
    thread.join()
    assert engine.calls == ["begin image.a", "end image.a"]
    assert outcome.interrupted and outcome.results == ("done", "pending")
    assert outcome_text(outcome) == (
        "Interrupted: 1 of 2 changes done.\n  not begun: container.a\nApplying again does what is left."
    )
    assert engine.records[0][2]["outcome"] == "interrupted"


def test_an_interrupt_ends_waiting() -> None:
    engine, interrupts = Engine(), Interrupts()
    over = threading.Event()

    def interrupt_and_hang() -> None:
        interrupts.interrupt()
        over.wait(LONG)

    engine.when["container.db healthy"] = interrupt_and_hang
    specs = [spec("container.db"), spec("container.web", {"container.db": "healthy"})]
    outcome = run(engine, [change("container.web")], specs, interrupts=interrupts)
    over.set()
    assert outcome.interrupted and outcome.results == ("pending",) and not outcome.failures


def test_the_second_interrupt_stops_at_once() -> None:
    engine, interrupts = Engine(), Interrupts()
    over = threading.Event()

    def interrupt_twice_and_hang() -> None:
        interrupts.interrupt()
        interrupts.interrupt()
        over.wait(LONG)

    engine.during["image.a"] = interrupt_twice_and_hang
    with pytest.raises(KeyboardInterrupt):
        run(engine, [change("image.a", action=Action.BUILD)], [], interrupts=interrupts)
    over.set()
    assert engine.records[0][2]["outcome"] == "interrupted"


def test_interrupts_take_the_signals_and_give_them_back() -> None:
    import os
    import signal

    told: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts(told.append) as interrupts:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert (interrupts.count, told) == (2, [1, 2])
    assert signal.getsignal(signal.SIGTERM) is before


# --- ends ---------------------------------------------------------------------------------------------------------


def test_a_defect_is_raised_when_the_rest_is_finished() -> None:
    engine = Engine()

    def defect() -> None:
        raise ZeroDivisionError("oops")

    engine.during["image.a"] = defect
    with pytest.raises(ZeroDivisionError):
        run(engine, [change("image.a"), change("image.b"), change("container.a", "image.a")], [spec("container.a")])
    assert "end image.b" in engine.calls
    assert engine.records[0][2]["failures"] == {"image.a": "unexpected ZeroDivisionError: oops"}


def test_success_is_kept_with_outputs() -> None:
    engine = Engine()
    outcome = run(engine, [change("volume.a"), change("image.a", action=Action.BUILD)], [])
    [(stack, generation, document)] = engine.records
    assert (stack, generation) == ("shop", 5)
    assert {key: document[key] for key in ("format", "generation", "outcome", "outputs", "failures")} == {
        "format": 1,
        "generation": 5,
        "outcome": "applied",
        "outputs": {"url": "http://x"},
        "failures": {},
    }
    assert outcome_text(outcome._replace(seconds=1.25)) == "Done: 1 created, 1 built in 1.2 s."


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (None, 0),
        ({"generation": 4, "outcome": "applied", "outputs": {"url": "http://x"}}, 0),
        ({"generation": 4, "outcome": "applied", "outputs": {"url": "http://old"}}, 1),
        ({"generation": 4, "outcome": "destroyed", "outputs": {}}, 0),
    ],
)
def test_outputs_are_kept_though_nothing_else_changes(kept: Any, expected: int) -> None:
    engine = Engine()
    if kept:
        engine.record("shop", 4, kept)
        engine.records, given = [], engine.records
        engine.recorded = lambda stack: given[-1][2]  # type: ignore[method-assign]
    outcome = run(engine, [], [])
    assert outcome_text(outcome) == "Nothing to change."
    assert [(generation, document["outputs"]) for _, generation, document in engine.records] == [
        (4, {"url": "http://x"})
    ] * expected


def test_destroy_needs_no_stack_file() -> None:
    engine = Engine()
    changes = (
        change("container.web", action=Action.DELETE),
        change("network.a", "container.web", action=Action.DELETE),
    )
    outcome = destroy(Plan("shop", "fake", 6, changes), engine, report=lambda event: None)  # type: ignore[arg-type]
    assert engine.calls == ["begin container.web", "end container.web", "begin network.a", "end network.a"]
    assert outcome_text(outcome._replace(seconds=65.0)) == "Done: 2 deleted in 1 min 5 s."
    assert engine.records[0][2]["outcome"] == "destroyed"


@pytest.mark.parametrize(
    ("fails", "results"),
    [
        ("", ("done", "done", "done")),
        ("the snapshot", ("skipped", "failed", "skipped")),
        ("the rest", ("done", "failed", "skipped")),
    ],
)
def test_what_is_made_within_a_change_is_told_and_kept_as_one_of_its_own(fails: str, results: tuple[str, ...]) -> None:
    class Keeping(Engine):
        def perform(self, change: Change, desired: Any, secrets: Any, generation: int, report: Any) -> None:
            super().perform(change, desired, secrets, generation, report)
            for address in change.snapshots:
                report(Event(address, "started", ""))
                if fails == "the snapshot":
                    raise StackpyError("it is full")
                report(Event(address, "done", ""))
            if fails and change.snapshots:
                raise StackpyError("it does not start")

    engine, events = Keeping(), list[Event]()
    changes = [
        Change("volume.data", Action.SNAPSHOT, ()),
        Change("container.db", Action.REPLACE, (), depends_on=("volume.data",), snapshots=("volume.data",)),
        Change("job.migrate", Action.RUN, (), depends_on=("container.db",)),
    ]
    specs = [spec("container.db"), spec("job.migrate"), spec("volume.data")]
    if fails:
        with pytest.raises(ApplyFailed):
            run(engine, changes, specs, events=events)
    else:
        run(engine, changes, specs, events=events)
    kept = engine.records[-1][2]
    assert tuple(each["result"] for each in kept["changes"]) == results
    assert engine.calls.count("begin volume.data") == 0
    told = [(event.kind, event.text) for event in events if event.address == "volume.data"]
    assert told[0] == ("started", "taking a snapshot")
    assert told[1:2] == ([("done", "snapshot taken")] if results[0] == "done" else told[1:2])
    assert ("seconds" in kept["changes"][0]) is (results[0] == "done"), kept["changes"][0]
