"""Work that is due by time. It depends on the database alone: deadlines are watched even while Redis is away."""

import asyncio
import logging
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.bootstrap import Runtime
from app.domain.jobs.periodic import KnownWork, Request
from jobs.board import Board, Entry
from jobs.trouble import DATABASE_ERRORS, Trouble, pause

log = logging.getLogger("steps.worker")

SPREAD = 0.1  # so that workers started together do not all wake together


@dataclass(frozen=True, slots=True)
class Periodic:
    """Something to do again `seconds` after it has ended; `work` returns how much there was to do.

    `about`: a sentence for those who see it in the table of periodic work. `essential`: it cannot be paused.
    """

    name: str
    seconds: float
    work: Callable[[Runtime], Awaitable[int]]
    about: str = ""
    essential: bool = False

    @property
    def code(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    @property
    def known(self) -> KnownWork:
        """The work as the database is told of it."""
        return KnownWork(
            code=self.code,
            label=self.name[:1].upper() + self.name[1:],
            about=self.about,
            seconds=max(1, round(self.seconds)),
            essential=self.essential,
        )


async def keep_schedule(
    runtime: Runtime, schedule: Sequence[Periodic], stopping: asyncio.Event, board: Board | None = None
) -> None:
    """Do everything of the schedule at its pace until `stopping` is set; with a `board`, once that is ready."""
    if board is None:
        board = Board(runtime, [periodic.known for periodic in schedule])
    else:
        await _first(board.ready, stopping)
    async with asyncio.TaskGroup() as group:
        for periodic in schedule:
            group.create_task(_repeat(runtime, periodic, stopping, board), name=periodic.name)
        await stopping.wait()


async def _repeat(runtime: Runtime, periodic: Periodic, stopping: asyncio.Event, board: Board) -> None:
    trouble = Trouble(f"the database is not reachable: cannot {periodic.name}")
    entry = board.entries[periodic.code]
    while not stopping.is_set():
        entry.wake.clear()
        request: Request | None = None
        try:
            request = await board.request(periodic.code)
            if request is not None or not entry.paused:
                await _do(runtime, periodic, board, request)
        except DATABASE_ERRORS as error:
            await trouble.met(error, stopping)
            continue
        except Exception:
            log.exception("could not %s", periodic.name)
        else:
            trouble.over()
        await _wait(runtime, periodic, entry, stopping)


async def _do(runtime: Runtime, periodic: Periodic, board: Board, request: Request | None) -> None:
    board.began(periodic.code)
    try:
        count = await periodic.work(runtime)
    except Exception as error:
        board.ended(periodic.code, count=0, error=error, request=request)
        raise
    board.ended(periodic.code, count=count, request=request)


async def _first(*events: asyncio.Event) -> None:
    while not any(event.is_set() for event in events):
        await pause(60, *events)


async def _wait(runtime: Runtime, periodic: Periodic, entry: Entry, stopping: asyncio.Event) -> None:
    spread = random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311 - no secret
    seconds = periodic.seconds * spread
    entry.next_at = runtime.clock.now() + timedelta(seconds=seconds)
    await pause(seconds, stopping, entry.wake)
