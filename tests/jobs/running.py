"""Starting worker processes, and waiting for what they do."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.bootstrap import Runtime
from app.core.settings import PREFIX

ROOT = Path(__file__).resolve().parents[2]


class WorkerProcess:
    """One worker as a child process; its log is kept."""

    def __init__(self, runtime: Runtime, folder: Path, *, redis_url: str | None = None, name: str = "worker") -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment |= runtime.settings.environment()
        if redis_url is not None:
            environment[f"{PREFIX}REDIS_URL"] = redis_url
        self._log = folder / f"{name}.log"
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.jobs.worker_process"],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def ended(self, seconds: float = 30) -> int:
        return self._process.wait(seconds)


@contextmanager
def running_worker(
    runtime: Runtime, folder: Path, *, redis_url: str | None = None, name: str = "worker"
) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(runtime, folder, redis_url=redis_url, name=name)
    try:
        yield worker
    finally:
        if worker.alive:
            worker.terminate()
            try:
                worker.ended()
            except subprocess.TimeoutExpired:
                worker.kill()


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 60, what: str = "it") -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        await asyncio.sleep(0.1)
