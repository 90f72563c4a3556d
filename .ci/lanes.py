"""Runs lanes of tests side by side: each is a program of its own, and its whole output is shown when it has ended.

    python .ci/lanes.py NAME=SECONDS COMMAND... [-- NAME=SECONDS COMMAND...]

Lanes that failed come last. The exit code is 0 when every lane ended with 0, 130 when somebody interrupted them, and
1 otherwise. A lane that takes longer than its seconds, or is interrupted, takes the others with it; one whose tests
fail does not. Each lane has 60 s to tidy up.

A few tests that fail in a lane of pytest's are run once more, by themselves: one that passes then does not stop the
others' work, and is named as UNSTEADY, since it is a defect all the same, of the test or of what it tests.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

TIDY = 60.0
MOST_AGAIN = 3  # tests of a lane: more than a few have a reason in common
INTERRUPTED = (2, 130, -signal.SIGINT, -signal.SIGTERM)  # 2: pytest's own word for it


class Lane:
    """A program with a session of its own, whose output goes into a file."""

    def __init__(self, words):
        self.name, _, seconds = words[0].partition("=")
        self.output = tempfile.TemporaryFile()
        self.began, self.seconds, self.ended_by_us = time.monotonic(), float(seconds), False
        self.notes = tempfile.TemporaryDirectory() if "pytest" in words else None
        self.words = [*words[1:], *(["-o", f"cache_dir={self.notes.name}"] if self.notes else [])]
        self.process = subprocess.Popen(
            self.words, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT, start_new_session=True
        )

    def late(self):
        """Whether it has taken longer than it may."""
        return time.monotonic() - self.began > self.seconds

    def signal(self, number):
        """Sends a signal to the program and what it has started, as a terminal does for a key."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def show(self):
        """Prints the output between two lines with its name."""
        code, seconds = self.process.wait(), time.monotonic() - self.began
        print(f"\n===== {self.name} =====", flush=True)
        self.output.seek(0)
        sys.stdout.buffer.write(self.output.read())
        print(f"===== {self.name}: exit code {code} after {seconds:.0f} s =====", flush=True)
        return code

    def passes_again(self):
        """Whether the few tests that have failed pass by themselves."""
        try:
            with open(f"{self.notes.name}/v/cache/lastfailed", encoding="utf-8") as file:
                failed = list(json.load(file))
        except (AttributeError, OSError):
            return False  # no tests of pytest's, or they did not come so far
        if self.process.returncode != 1 or not 0 < len(failed) <= MOST_AGAIN:
            return False
        print(f"\n===== {self.name}: what has failed, once more and by itself =====", flush=True)
        if subprocess.run([*self.words, "--last-failed", "--last-failed-no-failures=none"], check=False).returncode:
            return False
        for name in failed:
            print(f"UNSTEADY {name}: it failed beside the others, and passed by itself", flush=True)
        return True


def groups(words):
    """The words between `--`."""
    found = [[]]
    for word in words:
        if word == "--":
            found.append([])
        else:
            found[-1].append(word)
    return found


def end(lanes):
    """Interrupts what runs, and kills what does not end by that."""
    deadline = time.monotonic() + TIDY
    for lane in lanes:
        if lane.process.poll() is None:
            lane.ended_by_us = not lane.late()
            lane.signal(signal.SIGINT)
    for lane in lanes:
        try:
            lane.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            lane.signal(signal.SIGKILL)


def main():
    """Starts all, waits for all, shows all."""
    interrupted = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: interrupted.append(number))
    running = [Lane(words) for words in groups(sys.argv[1:])]
    names = ", ".join(lane.name for lane in running)
    print(f"lanes: {names}; each shows its output when it ends", flush=True)
    failed, everyone = [], list(running)
    while running:
        time.sleep(0.2)
        late = [lane.name for lane in running if lane.late()]
        if late:
            print(f"{late[0]} takes longer than it may: all are ended", flush=True)
        if late or interrupted:
            end(running)
        for lane in [lane for lane in running if lane.process.poll() is not None]:
            running.remove(lane)
            if lane.process.returncode == 0:
                lane.show()
                continue
            failed.append(lane)
            print(f"{lane.name} failed: its output follows at the end", flush=True)
            if lane.process.returncode in INTERRUPTED:
                end(running)
    for lane in failed:
        lane.show()
    if not interrupted:
        failed = [lane for lane in failed if not lane.passes_again()]
    for lane in everyone:
        result = "passed" if lane not in failed else "was ended" if lane.ended_by_us else "FAILED"
        print(f"lane {lane.name}: {result}", flush=True)
    return 130 if interrupted else 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
