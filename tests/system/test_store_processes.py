"""The store between processes: writers at once, a writer that is killed, forks, readers without rights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stackpy_runtime.errors import Denied
from stackpy_runtime.store.store import Store

RUNTIME = str(Path(__file__).parents[2] / "runtime")


def python(code: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={"PYTHONPATH": RUNTIME},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def test_processes_that_create_a_root_at_once(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom stackpy_runtime.store.store import Store\n"
        "sys.stdin.readline()\nstore = Store(sys.argv[1], create=True)\n"
        "for n in range(20): store.put_recipe(f'{sys.argv[2]}/{n}', {'id': '1', 'steps': []})\n"
    )
    writers = [python(code, str(tmp_path / "root"), str(number)) for number in range(6)]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    assert [(writer.communicate(timeout=60)[0], writer.returncode) for writer in writers] == [("", 0)] * 6
    store = Store(str(tmp_path / "root"))
    assert len(store.recipes()) == 120
    store.close()


def test_processes_are_given_different_addresses(tmp_path: Path) -> None:
    store = Store(str(tmp_path), create=True)
    store.insert_network({"id": "n", "name": "n", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1"})  # type: ignore[typeddict-item]
    code = (
        "import sys\nfrom stackpy_runtime.store.store import Store\nstore = Store(sys.argv[1])\n"
        "print(*[store.allocate_address('n', f'{sys.argv[2]}.{n}') for n in range(25)])\n"
    )
    writers = [python(code, str(tmp_path), str(number)) for number in range(4)]
    given = [address for writer in writers for address in writer.communicate(timeout=60)[0].split()]
    assert sorted(given, key=lambda a: int(a.split(".")[3])) == [f"10.0.0.{n}" for n in range(2, 102)]
    store.close()


def test_a_writer_that_is_killed_leaves_whole_transactions(tmp_path: Path) -> None:
    store = Store(str(tmp_path), create=True)
    code = (
        "import sys\nfrom stackpy_runtime.store.store import Store\nstore = Store(sys.argv[1])\n"
        "def work(connection):\n"
        "    for key in ('a', 'b'):\n"
        "        connection.execute('INSERT OR REPLACE INTO recipes VALUES (?, ?)', (key, str(n)))\n"
        "        if key == 'a' and n == 50: print('now', flush=True); sys.stdin.readline()\n"
        "for n in range(1, 51): store.transaction(work)\n"
    )
    writer = python(code, str(tmp_path))
    assert writer.stdout is not None
    assert writer.stdout.readline() == "now\n"
    assert store.rows("SELECT * FROM recipes ORDER BY key") == [("a", "49"), ("b", "49")]  # readers do not wait
    writer.kill()
    writer.communicate()
    store.put_recipe("c", {"id": "1", "steps": []})  # nor do writers, once it is dead
    assert [row[0] for row in store.rows("SELECT key FROM recipes ORDER BY key")] == ["a", "b", "c"]
    store.close()


def test_threads_have_connections_of_their_own(tmp_path: Path) -> None:
    store = Store(str(tmp_path), create=True)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for n in range(20):
                store.put_step(f"{number}.{n}", "", {})
                assert f"{number}.{n}" in store.steps_present([f"{number}.{n}"])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (errors, store.row("SELECT count(*) FROM steps")) == ([], (160,))
    store.close()
    assert store.row("SELECT count(*) FROM steps") == (160,)  # it opens again
    store.close()


def test_a_forked_child_opens_its_own_connection(tmp_path: Path) -> None:
    store = Store(str(tmp_path), create=True)
    store.put_recipe("parent", {"id": "1", "steps": []})
    child = os.fork()
    if not child:
        code = 1
        try:
            store.put_recipe("child", {"id": "2", "steps": []})
            store.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.put_recipe("after", {"id": "3", "steps": []})
    assert sorted(store.recipes()) == ["after", "child", "parent"]
    assert (tmp_path / "state.db-wal").exists()  # the child did not take the log away
    store.close()


@pytest.mark.root
def test_another_user_is_denied(tmp_path: Path) -> None:
    root = tmp_path / "root"
    Store(str(root), create=True).close()
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o711)
    code = (
        "import os, sys\nfrom stackpy_runtime.errors import EngineError\n"
        "from stackpy_runtime.store.store import Store\nos.setuid(65534)\n"
        "for create in (False, True):\n"
        "    try: Store(sys.argv[1], create=create).images()\n"
        "    except EngineError as e: print(type(e).__name__, e, '|', e.hint)\n"
    )
    output, _ = python(code, str(root)).communicate(timeout=60)
    assert output.splitlines() == [
        f"Denied cannot open `{root}/state.db`: permission denied | run it with sudo, or give --root DIR",
        f"EngineError `{root}` belongs to another user (UID 0) | give --root DIR a folder of its own",
    ]
    assert issubclass(Denied, PermissionError)


def test_sigkill_in_the_middle_of_creation_converges(tmp_path: Path) -> None:
    """Killed at many moments of the first opening, the next opening finds a whole database or makes one."""
    code = (
        "import sys\nfrom stackpy_runtime.store.store import Store\n"
        "print('go', flush=True)\nStore(sys.argv[1], create=True)\n"
    )
    for attempt in range(12):
        root = tmp_path / str(attempt)
        maker = python(code, str(root))
        assert maker.stdout is not None
        maker.stdout.readline()
        try:
            maker.wait(timeout=attempt * 0.0015)
        except subprocess.TimeoutExpired:
            maker.send_signal(signal.SIGKILL)
        maker.communicate()
        store = Store(str(root), create=True)
        store.put_recipe("a", {"id": "1", "steps": []})
        assert store.images() == []
        store.close()
