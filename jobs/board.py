"""What this worker does again and again: kept in memory while it runs, told to the database now and then.

A round that finds nothing to do costs nothing here but a few assignments. What was done gathers until it is told, one
row for each work, so that a sweep which is busy all day leaves a row every few seconds and not one for each round.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.domain.jobs import periodic
from app.domain.jobs.execute import in_words
from app.domain.jobs.periodic import KnownWork, Request, WorkDone
from jobs.trouble import DATABASE_ERRORS

log = logging.getLogger("steps.worker")

ACTOR = "Worker"


@dataclass(slots=True)
class Entry:
    """One work of this worker. `wake` is set when somebody wants something of it."""

    known: KnownWork
    paused: bool = False
    asked_for: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    running_since: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    next_at: datetime | None = None
    count: int = 0
    error: str | None = None

    def plain(self) -> dict[str, Any]:
        """What the database is told of it."""
        times = {
            "since": self.running_since,
            "started": self.started_at,
            "finished": self.finished_at,
            "next": None if self.paused else self.next_at,
        }
        told: dict[str, Any] = {name: at.isoformat() for name, at in times.items() if at is not None}
        return {**told, "count": self.count, **({"error": self.error} if self.error else {})}


class Board:
    """The works of this worker."""

    def __init__(self, runtime: Runtime, works: Iterable[KnownWork]) -> None:
        self.entries: Mapping[str, Entry] = {known.code: Entry(known) for known in works}
        self._runtime = runtime
        self._done: list[WorkDone] = []
        self.ready = asyncio.Event()  # it is known what is paused

    def began(self, code: str) -> datetime:
        """Note that a round begins; return when."""
        entry = self.entries[code]
        entry.running_since = entry.started_at = self._runtime.clock.now()
        return entry.started_at

    def ended(
        self, code: str, *, count: int, error: BaseException | None = None, request: Request | None = None
    ) -> None:
        """Note that the round is over; it is told if there was something to do, or it failed, or somebody asked."""
        entry = self.entries[code]
        now = self._runtime.clock.now()
        started = entry.running_since or now
        entry.running_since, entry.finished_at, entry.count = None, now, count
        entry.error = None if error is None else in_words(error)
        if count or entry.error or request is not None:
            done = WorkDone(
                code=code,
                started_at=started,
                finished_at=now,
                busy=max(now - started, timedelta(0)),
                times=1,
                count=count,
                error=entry.error,
                asked_by=request.by if request is not None else None,
            )
            self._add(done, alone=request is not None)

    def _add(self, done: WorkDone, *, alone: bool) -> None:
        """Keep it for the next telling, in one row with rounds of the same outcome unless it stands `alone`."""
        for number, other in enumerate(self._done):
            if not alone and other.code == done.code and other.error == done.error and other.asked_by is None:
                self._done[number] = replace(
                    other,
                    finished_at=done.finished_at,
                    busy=other.busy + done.busy,
                    times=other.times + 1,
                    count=other.count + done.count,
                )
                return
        self._done.append(done)

    def take_done(self) -> Sequence[WorkDone]:
        """What was done since the last call; give it back with `put_back` if it could not be told."""
        done, self._done = self._done, []
        return done

    def put_back(self, done: Sequence[WorkDone]) -> None:
        self._done = [*done, *self._done]

    def follow(self, orders: Mapping[str, periodic.Orders]) -> None:
        """Take up what people want; whatever is not named is neither paused nor asked for."""
        self.ready.set()
        for code, entry in self.entries.items():
            order = orders.get(code)
            paused, asked_for = (order.paused, order.asked_for) if order else (False, False)
            changed = (paused, asked_for) != (entry.paused, entry.asked_for)
            entry.paused, entry.asked_for = paused and not entry.known.essential, asked_for
            if changed and (asked_for or not paused):
                entry.wake.set()

    async def read_orders(self) -> None:
        """Read what people want, when the database says that something has changed."""
        try:
            async with self._runtime.uow(system_actor(ACTOR)) as uow:
                self.follow(await periodic.read_orders(uow))
        except DATABASE_ERRORS as error:
            log.info("what is paused was not read now (%s)", type(error).__name__)  # read again with the next beat

    async def request(self, code: str) -> Request | None:
        """Take the request for a work, if there is one and no other worker has it."""
        entry = self.entries[code]
        if not entry.asked_for:
            return None
        entry.asked_for = False
        async with self._runtime.uow(system_actor(ACTOR)) as uow:
            return await periodic.take_request(uow, code)
