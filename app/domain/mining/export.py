"""The history of records or runs as an event log: XES (IEEE 1849) or OCEL 2.0, written as it is read."""

import gzip
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import IO
from uuid import uuid4

from app.core.audit import AuditEntry
from app.core.errors import InvalidRequest
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.mining.histories import CaseHistory, record_histories, run_histories
from app.domain.mining.ocel_writing import OcelWriter
from app.domain.mining.xes_writing import XesWriter

Period = tuple[date | None, date | None]


async def export_log(
    uow: UnitOfWork,
    *,
    target: Path,
    entity: str | None = None,
    workflow: str | None = None,
    period: Period = (None, None),
    ocel: bool = False,
) -> tuple[int, int]:
    """Write a log and return how many cases and events it has. The file appears when it is whole.

    Raises:
        Forbidden: the actor may not export it. InvalidRequest: there is no such entity, or the file cannot be written.
        NotFound: there is no such workflow.
    """
    source = entity or "workflow_run"
    if entity is not None and entity not in uow.registry.entities:
        raise InvalidRequest(f"There is no entity {entity}; there are {', '.join(sorted(uow.registry.entities))}.")
    decision = authorize(uow, "export", source)
    between = _instants(period)
    if entity is not None:
        histories = record_histories(uow, entity, between)
    else:
        histories = run_histories(uow, workflow or "", between)
    cases, events = await _write(target, histories, ocel=ocel, name=entity or workflow or "")
    uow.audit(
        AuditEntry(
            command="export_log",
            entity=source,
            context={"file": target.name, "cases": cases, "events": events, "workflow": workflow},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    return cases, events


def _instants(period: Period) -> tuple[datetime | None, datetime | None]:
    """The first instant, and the first one after the last day, in UTC."""
    since, until = period
    if since and until and until < since:
        raise InvalidRequest("The last date is before the first one.")
    begin = datetime.combine(since, time(), UTC) if since else None
    end = datetime.combine(until + timedelta(days=1), time(), UTC) if until else None
    return begin, end


async def _write(target: Path, histories: AsyncIterator[CaseHistory], *, ocel: bool, name: str) -> tuple[int, int]:
    part = target.with_name(f".{target.name}.{uuid4().hex}.part")
    cases = events = 0
    try:
        with _opened(part, compressed=target.suffix == ".gz") as file:
            writer = (OcelWriter if ocel else XesWriter)(file, name)
            async for history in histories:
                writer.case(history)
                cases, events = cases + 1, events + len(history.events)
            writer.end()
        part.replace(target)
    except OSError as error:
        raise InvalidRequest(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)
    return cases, events


def _opened(path: Path, *, compressed: bool) -> IO[str]:
    if compressed:
        return gzip.open(path, "wt", encoding="utf-8")
    return path.open("w", encoding="utf-8")
