"""Keeps the processes of one installation running: web and workers, beside the embedded servers.

One loop in one thread sleeps until a signal arrives or a second has passed; nothing here shares memory with a child.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from app.core.processes import ends_with_parent

PAUSE_SECONDS = 1.0
START_PAUSE_SECONDS = 0.1
START_SECONDS = 90
STEADY_SECONDS = 60
LONGEST_BACKOFF_SECONDS = 30
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StepFailedError(Exception):
    """A process that has to finish before the others start ended with an error; it has said why itself."""


class StopRequestedError(Exception):
    """Someone asked for the end while a step was running."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A process to keep running. The ones listed first stop first."""

    name: str
    command: Sequence[str]
    stop_seconds: float
    needed_to_start: bool = False
    pass_fds: tuple[int, ...] = ()


@dataclass(slots=True)
class _Child:
    spec: ChildSpec
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    restart_at: float | None = None
    failures: int = field(default=0)


class Supervisor:
    """Starts children with one environment, restarts those that die, and stops them in order."""

    def __init__(self, *, environment: Mapping[str, str], folder: Path, say: Callable[[str], None]) -> None:
        """Prepare; `say` prints one line for the person at the terminal."""
        self.environment = dict(environment)
        self._folder = folder
        self._say = say
        self._stop_requests = 0
        self._wakeup = -1

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Turn the signals that ask for the end into a clean one, within this context."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        former_wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        former = {number: signal.signal(number, self._request_stop) for number in STOPPING}
        # Without a handler of ours, the end of a child would not wake the loop.
        former_child = signal.signal(signal.SIGCHLD, _notice)
        self._wakeup = reading
        try:
            yield
        finally:
            signal.signal(signal.SIGCHLD, former_child)
            for number, handler in former.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(former_wakeup)
            os.close(reading)
            os.close(writing)
            self._wakeup = -1

    def run_step(self, command: Sequence[str]) -> None:
        """Run a process to its end, before the others.

        Raises:
            StepFailedError: it ended with an error.
            StopRequestedError: a signal asked for the end; the process has been stopped.
        """
        process = self._spawn(command, ())
        while process.poll() is None:
            if self._asked_to_stop():
                self._stop(process, seconds=15)
                raise StopRequestedError
            self._wait(PAUSE_SECONDS)
        if process.returncode != 0:
            raise StepFailedError

    def run(
        self,
        specs: Sequence[ChildSpec],
        *,
        answers: Callable[[], bool],
        on_ready: Callable[[], None],
        trouble: Callable[[], str | None],
    ) -> int:
        """Keep the children running until a signal asks for the end; return the exit status.

        `answers` tells whether the web server is up, `on_ready` is called once when it is, and `trouble` returns a
        line when the servers below have failed.
        """
        children = [_Child(spec) for spec in specs]
        try:
            return self._watch(children, answers=answers, on_ready=on_ready, trouble=trouble)
        finally:
            for child in children:
                if child.process is not None:
                    self._stop(child.process, seconds=child.spec.stop_seconds)

    def _watch(
        self,
        children: Sequence[_Child],
        *,
        answers: Callable[[], bool],
        on_ready: Callable[[], None],
        trouble: Callable[[], str | None],
    ) -> int:
        ready = False
        give_up_at = time.monotonic() + START_SECONDS
        for child in children:
            self._start(child)
        while not self._asked_to_stop():
            if (line := trouble()) is not None:
                self._say(line)
                return 1
            for child in children:
                if not self._tend(child, ready=ready):
                    return 1
            if not ready and answers():
                ready = True
                on_ready()
            elif not ready and time.monotonic() > give_up_at:
                self._say(f"the web server does not answer after {START_SECONDS} seconds: see the lines above")
                return 1
            self._wait(PAUSE_SECONDS if ready else START_PAUSE_SECONDS)
        return 0

    def _tend(self, child: _Child, *, ready: bool) -> bool:
        """Restart the child if it died and its time has come. Return False where the whole must end instead."""
        now = time.monotonic()
        if child.restart_at is not None:
            if now >= child.restart_at:
                self._start(child)
            return True
        if child.process is None or child.process.poll() is None:
            return True
        status = child.process.returncode
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        if child.spec.needed_to_start and not ready:
            self._say(f"{child.spec.name} {how} before it answered: see the lines above")
            return False
        child.failures = 1 if now - child.started > STEADY_SECONDS else child.failures + 1
        backoff = min(2.0 ** (child.failures - 1), LONGEST_BACKOFF_SECONDS)
        child.restart_at = now + backoff
        self._say(f"{child.spec.name} {how}; it starts again in {backoff:.0f} s")
        return True

    def _start(self, child: _Child) -> None:
        child.process = self._spawn(child.spec.command, child.spec.pass_fds)
        child.started = time.monotonic()
        child.restart_at = None

    def _spawn(self, command: Sequence[str], pass_fds: tuple[int, ...]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            cwd=self._folder,
            env=self.environment,
            pass_fds=pass_fds,
            start_new_session=True,  # a Ctrl-C reaches this process alone, which then stops the others in order
            preexec_fn=ends_with_parent(signal.SIGTERM),  # noqa: PLW1509 - runs one system call, no lock
        )

    def _stop(self, process: subprocess.Popen[bytes], *, seconds: float) -> None:
        """Ask the process to end; kill it after `seconds`, or as soon as someone asks a second time."""
        deadline = time.monotonic() + seconds
        if process.poll() is None:
            process.terminate()
        while process.poll() is None and (left := deadline - time.monotonic()) > 0 and self._stop_requests < 2:
            self._wait(min(left, PAUSE_SECONDS))
        if process.poll() is None:
            process.kill()
        process.wait()

    def _asked_to_stop(self) -> bool:
        return self._stop_requests > 0

    def _request_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_requests += 1

    def _wait(self, seconds: float) -> None:
        readable, _, _ = select.select([self._wakeup], [], [], seconds)
        if readable:
            os.read(self._wakeup, 4096)


def _notice(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the wake-up is the point."""
