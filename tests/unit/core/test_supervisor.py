"""The supervisor with real child processes: restart, refusal, order of stopping."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.supervisor import ChildSpec, StepFailedError, StopRequestedError, Supervisor

# A child that notes its start and its end in a file, and ends when asked.
NOTES = """
import os, signal, sys, time
name, notes = sys.argv[1:]
def note(text):
    with open(notes, "a") as file:
        file.write(f"{name} {text} {os.getpid()}\\n")
def leave(*_):
    note("ends")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
note("starts")
while True:
    time.sleep(1)
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


class Bench:
    """A supervisor, what it said, and the notes of its children."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.notes = folder / "notes"
        self.supervisor = Supervisor(environment=dict(os.environ), folder=folder, say=self.said.append)

    def child(self, name: str, *, needed_to_start: bool = False, stop_seconds: float = 10) -> ChildSpec:
        return ChildSpec(
            name=name,
            command=[sys.executable, "-c", NOTES, name, str(self.notes)],
            stop_seconds=stop_seconds,
            needed_to_start=needed_to_start,
        )

    def noted(self, text: str) -> list[int]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [int(line.split()[-1]) for line in lines if line.startswith(text)]

    def run(self, *specs: ChildSpec, trouble: Callable[[], str | None] = lambda: None) -> int:
        with self.supervisor.listening():
            return self.supervisor.run(
                specs, answers=lambda: bool(self.noted("web starts")), on_ready=lambda: None, trouble=trouble
            )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def soon(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "did not happen within 20 seconds"
        time.sleep(0.02)


def meanwhile(act: Callable[[], None]) -> threading.Thread:
    """Run `act` beside the supervisor, which needs the main thread for its signals."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def ask_to_stop(with_signal: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), with_signal)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_children_in_order_and_leaves_none(bench: Bench, with_signal: signal.Signals) -> None:
    def act() -> None:
        soon(lambda: bench.noted("web starts") and bench.noted("worker starts"))
        ask_to_stop(with_signal)

    acting = meanwhile(act)
    assert bench.run(bench.child("web"), bench.child("worker")) == 0
    acting.join()
    ends = [line.split()[0] for line in bench.notes.read_text().splitlines() if " ends " in line]
    assert ends == ["web", "worker"]
    assert not any(alive(pid) for pid in [*bench.noted("web starts"), *bench.noted("worker starts")])
    assert bench.said == []


def test_a_killed_worker_starts_again_and_a_line_says_so(bench: Bench) -> None:
    def act() -> None:
        soon(lambda: bench.noted("web starts") and bench.noted("worker starts"))
        os.kill(bench.noted("worker starts")[0], signal.SIGKILL)
        soon(lambda: len(bench.noted("worker starts")) == 2)
        ask_to_stop()

    meanwhile(act)
    assert bench.run(bench.child("web"), bench.child("worker")) == 0
    assert bench.said == ["worker was killed by SIGKILL; it starts again in 1 s"]
    assert len(bench.noted("web starts")) == 1


def test_a_child_that_keeps_failing_is_restarted_ever_more_slowly(bench: Bench) -> None:
    def act() -> None:
        soon(lambda: len(bench.said) == 3)
        ask_to_stop()

    meanwhile(act)
    broken = ChildSpec(name="worker", command=[sys.executable, "-c", "raise SystemExit(3)"], stop_seconds=5)
    assert bench.run(bench.child("web"), broken) == 0
    assert bench.said == [f"worker ended with status 3; it starts again in {seconds} s" for seconds in (1, 2, 4)]


def test_a_web_server_that_cannot_start_ends_the_run_with_a_line(bench: Bench) -> None:
    broken = ChildSpec(
        name="web", command=[sys.executable, "-c", "raise SystemExit(3)"], stop_seconds=5, needed_to_start=True
    )
    assert bench.run(broken, bench.child("worker")) == 1
    assert bench.said == ["web ended with status 3 before it answered: see the lines above"]
    assert not any(alive(pid) for pid in bench.noted("worker starts"))


def test_trouble_with_the_servers_below_ends_the_run_with_its_line(bench: Bench) -> None:
    trouble = iter([None, None, "PostgreSQL ended unexpectedly"])
    assert bench.run(bench.child("web"), trouble=lambda: next(trouble)) == 1
    assert bench.said == ["PostgreSQL ended unexpectedly"]


def test_a_child_that_does_not_end_in_time_is_killed(bench: Bench) -> None:
    stubborn = ChildSpec(name="worker", command=[sys.executable, "-c", STUBBORN], stop_seconds=1)

    def act() -> None:
        soon(lambda: bench.noted("web starts"))
        time.sleep(0.5)
        ask_to_stop()

    meanwhile(act)
    began = time.monotonic()
    assert bench.run(bench.child("web"), stubborn) == 0
    assert time.monotonic() - began < 15


def test_asking_twice_does_not_wait_for_a_child_that_takes_its_time(bench: Bench) -> None:
    stubborn = ChildSpec(name="worker", command=[sys.executable, "-c", STUBBORN], stop_seconds=300)

    def act() -> None:
        soon(lambda: bench.noted("web starts"))
        time.sleep(0.5)
        ask_to_stop()
        soon(lambda: bench.noted("web ends"))
        ask_to_stop()

    meanwhile(act)
    began = time.monotonic()
    assert bench.run(bench.child("web"), stubborn) == 0
    assert time.monotonic() - began < 30


def test_a_step_runs_to_its_end_and_its_failure_is_known(bench: Bench) -> None:
    with bench.supervisor.listening():
        bench.supervisor.run_step([sys.executable, "-c", "open('made', 'w')"])
        assert (bench.notes.parent / "made").exists()
        with pytest.raises(StepFailedError):
            bench.supervisor.run_step([sys.executable, "-c", "raise SystemExit(1)"])


def test_a_signal_during_a_step_stops_the_step(bench: Bench) -> None:
    def act() -> None:
        soon(lambda: bench.noted("migrate starts"))
        ask_to_stop(signal.SIGINT)

    meanwhile(act)
    with bench.supervisor.listening(), pytest.raises(StopRequestedError):
        bench.supervisor.run_step(bench.child("migrate").command)
    assert len(bench.noted("migrate ends")) == 1


def test_the_signals_handlers_are_given_back(bench: Bench) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)]
    with bench.supervisor.listening():
        assert signal.getsignal(signal.SIGTERM) not in before
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)]
    assert before == after
