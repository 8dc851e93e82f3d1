"""The worker, Redis, PostgreSQL and the mail server, each killed in the middle of many messages: none is lost.

`DELIVERIES=5000` in the environment makes it as many; the suite makes do with fewer.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.bootstrap import Runtime, build
from app.core.embedded import start_embedded
from app.core.migrations import upgrade_async
from app.core.ports import free_port
from app.domain.lifecycles.events import RecordNoticeWanted
from jobs.trouble import DATABASE_ERRORS
from tests.conftest import test_settings
from tests.factories import SYSTEM, add_row
from tests.jobs.running import ROOT, WorkerProcess, until
from tests.jobs.test_redis_away import RestartableRedis

COUNT = int(os.environ.get("DELIVERIES", "60"))
PEOPLE = 10
PATIENCE = 60 + COUNT / 5
AT = datetime(2026, 10, 30, 12, tzinfo=UTC)


class MailServer:
    """A mail server in a process of its own, always at the same address."""

    def __init__(self, folder: Path) -> None:
        self.port, self.file = free_port(), folder / "mails"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.jobs.smtp_process", str(self.port), str(self.file)]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def arrived(self) -> list[str]:
        return self.file.read_text().splitlines() if self.file.exists() else []


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[tuple[Runtime, MailServer, RestartableRedis]]:
    """A platform on servers of its own, which can be killed without harm to other tests."""
    mail_server, redis = MailServer(tmp_path), RestartableRedis(tmp_path)
    base = test_settings(tmp_path, smtp_url=f"smtp://127.0.0.1:{mail_server.port}")
    with ExitStack() as ending:
        ending.callback(mail_server.kill)
        ending.callback(redis.stop)
        servers = ending.enter_context(start_embedded(base, redis=False, durable=False))
        settings = base.model_copy(update={"database_url": servers.database_url, "redis_url": redis.url})
        await upgrade_async(servers.database_url)
        redis.start()
        mail_server.start()
        runtime = await build(settings)
        yield runtime, mail_server, redis
        await runtime.aclose()


async def _asked(runtime: Runtime, people: list[UUID], application: UUID) -> None:
    """Ask for every message, again after a lost connection, as whoever sent the request would."""
    for number in range(COUNT // PEOPLE):
        await _again(partial(_ask, runtime, people, application, number))


async def _ask(runtime: Runtime, people: list[UUID], application: UUID, number: int) -> None:
    async with runtime.uow(SYSTEM) as uow:
        uow.emit(
            RecordNoticeWanted(
                at=AT, entity="application", record_id=application, title="", roles=(), user_ids=tuple(people),
                subject=f"Message {number}", text="Read it.",
            )
        )  # fmt: skip


async def _again(what: Callable[[], Awaitable[Any]]) -> Any:
    deadline = time.monotonic() + 30
    while True:
        try:
            return await what()
        except DATABASE_ERRORS:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)


async def _rows(runtime: Runtime, statement: str) -> list[Any]:
    async def read() -> list[Any]:
        async with runtime.uow(SYSTEM) as uow:
            return list((await uow.execute(text(statement))).all())

    rows: list[Any] = await _again(read)
    return rows


async def _crash_postgres(runtime: Runtime) -> None:
    """Kill a process of the server: all others end with it, and it recovers from its log."""
    rows = await _rows(runtime, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    os.kill(rows[0].pid, signal.SIGKILL)


@pytest.mark.timeout(PATIENCE + 60)
async def test_no_message_is_lost_when_everything_is_killed_in_the_middle(
    own: tuple[Runtime, MailServer, RestartableRedis], tmp_path: Path
) -> None:
    runtime, mail_server, redis = own
    values = {"account_kind": "person", "active": True, "must_change_password": False, "failed_sign_ins": 0}
    async with runtime.uow(SYSTEM) as uow:
        application = await add_row(uow, "application", code="X", label="X", active=True)
        people = [
            await add_row(uow, "user", email=f"p{number}@bank.example", name=f"p{number}", **values)
            for number in range(PEOPLE)
        ]
    asking = asyncio.create_task(_asked(runtime, people, application))

    def reached(share: float) -> Callable[[], Awaitable[bool]]:
        async def look() -> bool:
            return len(mail_server.arrived()) >= COUNT * share

        return look

    with ExitStack() as ending:
        first = WorkerProcess(runtime, tmp_path, name="first")
        ending.callback(lambda: first.alive and first.kill())
        await until(reached(0.1), seconds=PATIENCE, what="the first messages")
        first.kill()
        second = WorkerProcess(runtime, tmp_path, name="second")
        ending.callback(lambda: second.alive and second.kill())
        await until(reached(0.3), seconds=PATIENCE, what="messages of the second worker")
        redis.stop()
        redis.start()
        await until(reached(0.5), seconds=PATIENCE, what="messages after Redis came back empty")
        await _crash_postgres(runtime)
        await until(reached(0.7), seconds=PATIENCE, what="messages after PostgreSQL has recovered")
        mail_server.kill()
        await asyncio.sleep(0.5)
        mail_server.start()
        await asking

        async def all_sent() -> bool:
            states = await _rows(runtime, "SELECT state, count(*) AS number FROM mail_message GROUP BY state")
            return {row.state: row.number for row in states} == {"sent": COUNT}

        await until(all_sent, seconds=PATIENCE, what="every message")
    given = await _rows(runtime, "SELECT user_id, title FROM notification")
    assert len(given) == len({(row.user_id, row.title) for row in given}) == COUNT  # in the product each is there once
    arrived = Counter(mail_server.arrived())
    mails = await _rows(runtime, "SELECT id, recipient FROM mail_message")
    assert set(arrived) == {f"{row.recipient} <{row.id}@127.0.0.1>" for row in mails}
    doubled = sum(times - 1 for times in arrived.values())
    # What a server had taken when it, or whoever waited for its answer, was killed comes twice, with one Message-ID.
    assert doubled <= 4 * 20
    sys.stderr.write(f"{COUNT} messages, {doubled} of them twice\n")
