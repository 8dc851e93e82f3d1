"""Work that is due by time. It depends on the database alone: deadlines are watched even while Redis is away."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from app.bootstrap import Runtime
from jobs.trouble import DATABASE_ERRORS, Trouble, pause

log = logging.getLogger("steps.worker")

SPREAD = 0.1  # so that workers started together do not all wake together


@dataclass(frozen=True, slots=True)
class Periodic:
    """Something to do again `seconds` after it has ended; returns how much there was to do."""

    name: str
    seconds: float
    work: Callable[[Runtime], Awaitable[int]]


async def keep_schedule(runtime: Runtime, schedule: Sequence[Periodic], stopping: asyncio.Event) -> None:
    """Do everything of the schedule at its pace until `stopping` is set."""
    async with asyncio.TaskGroup() as group:
        for periodic in schedule:
            group.create_task(_repeat(runtime, periodic, stopping), name=periodic.name)
        await stopping.wait()


async def _repeat(runtime: Runtime, periodic: Periodic, stopping: asyncio.Event) -> None:
    trouble = Trouble(f"the database is not reachable: cannot {periodic.name}")
    while not stopping.is_set():
        try:
            await periodic.work(runtime)
        except DATABASE_ERRORS as error:
            await trouble.met(error, stopping)
            continue
        except Exception:
            log.exception("could not %s", periodic.name)
        else:
            trouble.over()
        spread = random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311 - no secret
        await pause(periodic.seconds * spread, stopping)
