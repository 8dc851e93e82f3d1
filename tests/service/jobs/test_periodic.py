"""Periodic work: what workers tell, what people decide, and who does what they ask for."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from app.bootstrap import Runtime
from app.core.errors import Conflict, Forbidden, NotFound, TransitionRefused, ValidationFailed
from app.domain.jobs import periodic, presence
from app.domain.jobs.periodic_queries import SeenWork, seen_runs, seen_works
from jobs.board import Board
from jobs.presence import Reporter
from jobs.queue import connect
from jobs.schedule import Periodic, keep_schedule
from models.base import uuid7
from tests.factories import SYSTEM, World

NOWHERE = "redis://127.0.0.1:1/0"


class Rounds:
    """A work that counts its rounds, and what each is to return or raise."""

    def __init__(self, *results: int | Exception) -> None:
        self.count = 0
        self.results = list(results)
        self.begun = asyncio.Event()
        self._round = asyncio.Condition()

    async def __call__(self, _runtime: Runtime) -> int:
        self.count += 1
        self.begun.set()
        async with self._round:
            self._round.notify_all()
        result = self.results.pop(0) if self.results else 0
        if isinstance(result, Exception):
            raise result
        return result

    async def reached(self, count: int) -> None:
        async with asyncio.timeout(10), self._round:
            await self._round.wait_for(lambda: self.count >= count)


def work_of(rounds: Rounds, *, seconds: float = 60, essential: bool = False) -> Periodic:
    return Periodic("count the rounds", seconds=seconds, work=rounds, about="Counts.", essential=essential)


def reporter(runtime: Runtime, board: Board) -> Reporter:
    return Reporter(runtime, board, connect(NOWHERE), lambda: [{"job": "x", "since": "now"}], lambda: (3, 1))


async def announced(runtime: Runtime, work: Periodic) -> Board:
    """A board whose work the database knows."""
    board = Board(runtime, [work.known])
    await tell(runtime, board)
    return board


async def tell(runtime: Runtime, board: Board) -> None:
    """What the reporter does once: it is asked to end right after its first telling."""
    ended = asyncio.Event()
    task = asyncio.create_task(reporter(runtime, board).run(ended, seconds=0.01))
    await board.ready.wait()
    ended.set()
    await task


async def the_work(runtime: Runtime) -> SeenWork:
    async with runtime.uow(SYSTEM) as uow:
        (found,) = await seen_works(uow)
        return found


async def test_a_worker_announces_its_work_and_is_seen_while_redis_is_away(runtime: Runtime) -> None:
    board = Board(runtime, [work_of(Rounds()).known])
    ended = asyncio.Event()
    task = asyncio.create_task(reporter(runtime, board).run(ended))
    await board.ready.wait()
    async with runtime.uow(SYSTEM) as uow:
        (worker,) = await presence.seen_workers(uow)
    assert worker.alive
    assert (worker.redis_ok, worker.queue_depth) == (False, None)
    assert (worker.done, worker.failed, worker.running[0]["job"]) == (3, 1, "x")
    assert set(worker.works) == {"count-the-rounds"}
    work = await the_work(runtime)
    assert (work.label, work.about, work.seconds) == ("Count the rounds", "Counts.", 60)
    ended.set()
    await task
    async with runtime.uow(SYSTEM) as uow:
        (worker,) = await presence.seen_workers(uow)
    assert not worker.alive
    assert not worker.lost


async def test_a_worker_that_falls_silent_is_lost(runtime: Runtime) -> None:
    await announced(runtime, work_of(Rounds()))
    async with runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE worker SET stopped_at = NULL, seen_at = seen_at - interval '50 seconds'"))
    async with runtime.uow(SYSTEM) as uow:
        (worker,) = await presence.seen_workers(uow)
    assert worker.lost


async def test_rounds_that_find_nothing_leave_no_row_and_those_with_work_share_one(runtime: Runtime) -> None:
    rounds = Rounds(0, 2, 0, 3)
    work = work_of(rounds, seconds=0.01)
    board = await announced(runtime, work)
    stopping = asyncio.Event()
    task = asyncio.create_task(keep_schedule(runtime, [work], stopping, board))
    await rounds.reached(6)
    stopping.set()
    await task
    await tell(runtime, board)
    async with runtime.uow(SYSTEM) as uow:
        (run,) = await seen_runs(uow, (await the_work(runtime)).id)
    assert (run.count, run.times, run.outcome, run.asked_by) == (5, 2, "succeeded", None)
    assert timedelta(0) <= run.busy <= run.finished_at - run.started_at


async def test_a_round_that_fails_leaves_its_error_in_words(runtime: Runtime) -> None:
    rounds = Rounds(ValueError("SELECT secret"))
    work = work_of(rounds, seconds=0.01)
    board = await announced(runtime, work)
    stopping = asyncio.Event()
    task = asyncio.create_task(keep_schedule(runtime, [work], stopping, board))
    await rounds.reached(2)
    stopping.set()
    await task
    await tell(runtime, board)
    found = await the_work(runtime)
    assert found.last is not None
    assert found.last.outcome == "failed"
    assert "ValueError" in str(found.last.error)
    assert "SELECT" not in str(found.last.error)


async def test_what_is_paused_is_not_done_until_it_is_resumed(runtime: Runtime, world: World) -> None:
    rounds = Rounds()
    work = work_of(rounds, seconds=0.01)
    board = await announced(runtime, work)
    id_ = (await the_work(runtime)).id
    admin = await world.stored_actor("admin", application="PLATFORM")
    async with runtime.uow(admin) as uow:
        await periodic.pause_work(uow, id_, reason="The vendor  migrates")
    await board.read_orders()
    stopping = asyncio.Event()
    task = asyncio.create_task(keep_schedule(runtime, [work], stopping, board))
    await asyncio.sleep(0.1)
    assert rounds.count == 0
    found = await the_work(runtime)
    assert (found.paused_by, found.paused_reason) == ("Tester", "The vendor migrates")
    async with runtime.uow(admin) as uow:
        with pytest.raises(Conflict):
            await periodic.pause_work(uow, id_, reason="again")
    async with runtime.uow(admin) as uow:
        await periodic.resume_work(uow, id_)
    await board.read_orders()
    await asyncio.wait_for(rounds.begun.wait(), 5)
    stopping.set()
    await task
    async with runtime.uow(SYSTEM) as uow:
        audited = await uow.execute(
            text("SELECT command, reason FROM audit_entry WHERE entity = 'periodic_work' ORDER BY sequence")
        )
    assert [tuple(row) for row in audited] == [("pause", "The vendor migrates"), ("resume", None)]


async def test_what_is_asked_for_is_done_once_by_one_of_two_workers_also_while_paused(
    runtime: Runtime, world: World
) -> None:
    rounds = Rounds()
    work = work_of(rounds)
    boards = [await announced(runtime, work), await announced(runtime, work)]
    id_ = (await the_work(runtime)).id
    admin = await world.stored_actor("admin", application="PLATFORM")
    async with runtime.uow(admin) as uow:
        await periodic.pause_work(uow, id_, reason="Quiet")
        await periodic.ask_for_work(uow, id_)
        await periodic.ask_for_work(uow, id_)
    for board in boards:
        await board.read_orders()
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(keep_schedule(runtime, [work], stopping, board)) for board in boards]
    await asyncio.wait_for(rounds.begun.wait(), 5)
    await asyncio.sleep(0.1)
    stopping.set()
    await asyncio.gather(*tasks)
    assert rounds.count == 1
    for board in boards:
        await tell(runtime, board)
    found = await the_work(runtime)
    assert found.requested_at is None
    assert found.last is not None
    assert (found.last.asked_by, found.last.count) == ("Tester", 0)


async def test_what_the_platform_needs_cannot_be_paused(runtime: Runtime, world: World) -> None:
    await announced(runtime, work_of(Rounds(), essential=True))
    id_ = (await the_work(runtime)).id
    async with runtime.uow(world.actor("admin", application="PLATFORM")) as uow:
        with pytest.raises(TransitionRefused, match="cannot be paused"):
            await periodic.pause_work(uow, id_, reason="x")
        with pytest.raises(NotFound):
            await periodic.pause_work(uow, uuid7(), reason="x")
        with pytest.raises(ValidationFailed):
            await periodic.pause_work(uow, id_, reason=" ")


@pytest.mark.parametrize(("role", "application"), [("operations", "PNL"), ("admin", "PNL"), ("preparer", "PNL")])
async def test_only_administrators_of_the_platform_pause(
    runtime: Runtime, world: World, role: str, application: str
) -> None:
    await announced(runtime, work_of(Rounds()))
    async with runtime.uow(world.actor(role, application=application)) as uow:
        with pytest.raises(Forbidden):
            await periodic.pause_work(uow, uuid7(), reason="x")


async def test_announcing_again_keeps_what_was_decided(runtime: Runtime, world: World) -> None:
    work = work_of(Rounds())
    await announced(runtime, work)
    id_ = (await the_work(runtime)).id
    admin = await world.stored_actor("admin", application="PLATFORM")
    async with runtime.uow(admin) as uow:
        await periodic.pause_work(uow, id_, reason="Quiet")
    board = await announced(runtime, work)
    assert board.entries[work.code].paused
    assert (await the_work(runtime)).paused_reason == "Quiet"


async def test_an_idle_round_asks_the_database_nothing(runtime: Runtime) -> None:
    rounds = Rounds()
    work = work_of(rounds, seconds=0.01)
    board = await announced(runtime, work)
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(runtime.engine.sync_engine, "before_cursor_execute", note)
    try:
        stopping = asyncio.Event()
        task = asyncio.create_task(keep_schedule(runtime, [work], stopping, board))
        await rounds.reached(5)
        stopping.set()
        await task
    finally:
        event.remove(runtime.engine.sync_engine, "before_cursor_execute", note)
    assert statements == []
