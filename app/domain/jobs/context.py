"""What an action gets and gives: the contract between job runs and the features whose work they do."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Protocol
from uuid import UUID

from app.core.actor import Actor
from app.core.uow import UnitOfWork
from app.domain.jobs.job_log import JobLog, Level


class Platform(Protocol):
    """What gives units of work; `app.bootstrap.Runtime` is one."""

    def uow(self, actor: Actor, *, now: datetime | None = None) -> UnitOfWork: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult:
    """What an action has done.

    `output_fingerprint` identifies what was produced: equal outputs have equal fingerprints. `summary` is shown with
    the job run. `input_fingerprint` replaces that of the arguments where the action has read something else as well.
    """

    output_fingerprint: str
    summary: Mapping[str, Any] = field(default_factory=dict)
    input_fingerprint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """One attempt of a job run. What is written through `uow` counts only if the attempt succeeds."""

    uow: UnitOfWork
    job_run_id: UUID
    attempt: int
    arguments: Mapping[str, Any]
    process_run: Mapping[str, Any] | None  # the row, for the work of an automatic process
    run: Mapping[str, Any] | None  # its workflow run
    job_log: JobLog
    cancelled: Callable[[], Exception | None]

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters of the process, as its definition gives them."""
        given: Mapping[str, Any] | None = self.arguments.get("parameters")
        return given or {}

    @property
    def business_date(self) -> date:
        """The date the work is for: that of the run, or else today."""
        found: date = self.run["business_date"] if self.run else self.uow.business_date
        return found

    @property
    def node_id(self) -> UUID | None:
        """The part of the bank the work is for; None means all of it."""
        if self.process_run is not None and self.process_run["node_id"] is not None:
            return UUID(str(self.process_run["node_id"]))
        if self.run is not None and self.run["node_id"] is not None:
            return UUID(str(self.run["node_id"]))
        return None

    def log(self, level: Level | str, message: str) -> None:
        """Add a line to the attempt's log; it is kept even if the attempt fails or its worker is killed."""
        self.job_log.add(Level(level), message)

    async def check_cancelled(self) -> None:
        """Stop here if the job has been aborted or taken over; call it between portions of long work.

        Raises:
            JobAborted: a person or the workflow has called the job off.
            LeaseLost: another worker has taken it over.
        """
        await asyncio.sleep(0)  # lets the heartbeat run between portions that never wait for anything
        verdict = self.cancelled()
        if verdict is not None:
            raise verdict


Action = Callable[[JobContext], Awaitable[ActionResult]]
