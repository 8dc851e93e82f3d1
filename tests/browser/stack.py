"""The whole product as people use it: a small demo, a web process and a worker process."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from app.core.embedded import start_embedded
from app.core.ports import free_port
from app.core.settings import PREFIX, Settings
from app.demo import load_demo
from app.demo.package import DemoPackage
from app.probe import web_answers
from tests.conftest import test_settings

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a-password-of-the-demo"
DOMAIN = "@demo.example"
HISTORY_DAYS = 3
START_SECONDS = 60
STOP_SECONDS = 20


@dataclass(frozen=True)
class Stack:
    """A running product. `address` is where it answers."""

    settings: Settings
    logs: tuple[Path, ...]

    @property
    def address(self) -> str:
        return self.settings.address


@asynccontextmanager
async def running_stack(database_url: str, folder: Path) -> AsyncIterator[Stack]:
    """Load the demo into an empty, migrated database and serve it, with a Redis of its own."""
    given = test_settings(folder, database_url=database_url, demo=True, demo_password=PASSWORD, port=free_port())
    redis = start_embedded(given, postgres=False)
    try:
        settings = given.model_copy(update={"redis_url": redis.redis_url})
        await load_demo(settings, package=DemoPackage(history_days=HISTORY_DAYS))
        async with served(settings, folder) as stack:
            yield stack
    finally:
        redis.stop()


@asynccontextmanager
async def served(settings: Settings, folder: Path) -> AsyncIterator[Stack]:
    """A web process and a worker process; both are ended."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment |= settings.environment()
    logs = tuple(folder / f"{name}.log" for name in ("web", "worker"))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for log in logs:
            processes.append(_started(log, environment))  # noqa: PERF401 - those that began are ended if one does not
        await _answering(settings, processes[0], logs[0])
        yield Stack(settings, logs)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                await asyncio.to_thread(process.wait, STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _started(log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "app.cli", log.stem]
    with log.open("ab") as output:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)


def last_lines(log: Path) -> str:
    return log.read_text()[-4_000:]


async def _answering(settings: Settings, web: subprocess.Popen[bytes], log: Path) -> None:
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + START_SECONDS
    while not await asyncio.to_thread(web_answers, settings):
        if web.poll() is not None or loop.time() > give_up_at:
            raise RuntimeError(f"the web process does not answer:\n{last_lines(log)}")
        await asyncio.sleep(0.1)
