"""Forecasts as rows: computed for a run as it stands, written where they differ, and cleared when the run is over.

The current forecast of a run is one row. It moves on with each computation that says about the same; one that says
something else begins the next row, so that what was forecast when can be read later and compared with what happened.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.uow import UnitOfWork
from app.domain.prediction.forecast import Estimate, Forecast, ProcessEstimate, forecast
from app.domain.prediction.inputs import read_picture

REFRESH_AFTER = timedelta(minutes=3)
REFRESH_OLD_AFTER = timedelta(hours=1)
OLD = timedelta(days=30)
LEAST_PAUSE = timedelta(seconds=2)
PAUSE_PER_PROCESS = timedelta(milliseconds=3)
HISTORY_DAYS = 400

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('forecast:' || CAST(CAST(:run AS uuid) AS text), 0))")
_TRY_LOCK = text(
    "SELECT pg_try_advisory_xact_lock(hashtextextended('forecast:' || CAST(CAST(:run AS uuid) AS text), 0))"
)
_TOO_SOON = text("""
SELECT r.process_count, f.computed_at FROM run_forecast f JOIN workflow_run r ON r.id = f.run_id
WHERE f.run_id = :run AND f.current
""")
_CLEAR = text("""
WITH processes AS (DELETE FROM process_forecast WHERE run_id = :run),
     stages AS (DELETE FROM stage_forecast WHERE run_id = :run)
UPDATE run_forecast SET current = false, row_version = row_version + 1, updated_at = :now, updated_by = :by
WHERE run_id = :run AND current
""")

_RUN_COLUMNS = {
    "computed_at": "timestamptz", "finish_p50": "timestamptz", "finish_p90": "timestamptz", "due_at": "timestamptz",
    "miss": "numeric", "reason": "text", "driver_id": "uuid", "late": "interval", "miss_otherwise": "numeric",
    "open_count": "int", "observations": "int", "critical_path": "jsonb",
}  # fmt: skip
_TARGET_COLUMNS = {
    "finish_p50": "timestamptz", "finish_p90": "timestamptz", "due_at": "timestamptz", "miss": "numeric",
    "reason": "text", "driver_id": "uuid", "late": "interval",
}  # fmt: skip
_PROCESS_COLUMNS = {
    **_TARGET_COLUMNS, "start_p50": "timestamptz", "criticality": "numeric", "on_critical_path": "boolean",
    "source": "text", "observations": "int",
}  # fmt: skip


def _names(columns: Mapping[str, str], prefix: str = "") -> str:
    return ", ".join(f"{prefix}{name}" for name in columns)


_KEEP_RUN = text(
    f"""
WITH given AS (
    SELECT * FROM jsonb_to_record(:given) AS g ({", ".join(f"{name} {kind}" for name, kind in _RUN_COLUMNS.items())})
), moved_on AS (
    UPDATE run_forecast f SET {", ".join(f"{name} = g.{name}" for name in _RUN_COLUMNS)},
        row_version = f.row_version + 1, updated_at = :now, updated_by = :by
    FROM given g
    WHERE f.run_id = :run AND f.current AND f.miss IS NOT DISTINCT FROM g.miss
      AND f.reason IS NOT DISTINCT FROM g.reason
      AND f.driver_id IS NOT DISTINCT FROM g.driver_id AND f.due_at IS NOT DISTINCT FROM g.due_at
      AND f.finish_p50 IS NOT NULL AND abs(extract(epoch FROM f.finish_p50 - g.finish_p50)) < 60
    RETURNING f.id
), past AS (
    UPDATE run_forecast f SET current = false, row_version = f.row_version + 1, updated_at = :now, updated_by = :by
    WHERE f.run_id = :run AND f.current AND NOT EXISTS (SELECT FROM moved_on)
    RETURNING f.id
)
SELECT EXISTS (SELECT FROM moved_on) AS moved_on, (SELECT count(*) FROM past) AS past
"""
).bindparams(bindparam("given", type_=JSONB))
# The row before it gives up being current in a statement of its own: a unique index does not wait for the end of one.
_ADD_RUN = text(
    f"""
INSERT INTO run_forecast (id, row_version, created_at, created_by, updated_at, updated_by, run_id, current,
                          {_names(_RUN_COLUMNS)})
SELECT uuidv7(), 1, :now, :by, :now, :by, :run, true, {_names(_RUN_COLUMNS, "g.")}
FROM jsonb_to_record(:given) AS g ({", ".join(f"{name} {kind}" for name, kind in _RUN_COLUMNS.items())})
"""
).bindparams(bindparam("given", type_=JSONB))


def _keep_targets(table: str, key: str, columns: Mapping[str, str], extra: str) -> Any:
    """One statement: rows that are gone are deleted, changed ones updated, new ones inserted, equal ones left alone."""
    return text(
        f"""
WITH given AS (
    SELECT * FROM jsonb_to_recordset(:given) AS g (
        {key} uuid, {", ".join(f"{name} {kind}" for name, kind in columns.items())})
), gone AS (
    DELETE FROM {table} f WHERE f.run_id = :run AND NOT EXISTS (SELECT FROM given g WHERE g.{key} = f.{key})
)
INSERT INTO {table} AS f (id, row_version, created_at, created_by, updated_at, updated_by, run_id, {key},
                        {_names(columns)})
SELECT uuidv7(), 1, :now, :by, :now, :by, :run, g.{key}, {_names(columns, "g.")} FROM given g
ON CONFLICT ({key}) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in columns)},
    row_version = f.row_version + 1, updated_at = :now, updated_by = :by
WHERE ({_names(columns, "f.")}) IS DISTINCT FROM ({_names(columns, "excluded.")})
RETURNING {extra}
"""
    ).bindparams(bindparam("given", type_=JSONB))


_KEEP_STAGES = _keep_targets("stage_forecast", "stage_run_id", _TARGET_COLUMNS, "f.stage_run_id")
_KEEP_PROCESSES = _keep_targets("process_forecast", "process_run_id", _PROCESS_COLUMNS, "f.process_run_id")

_DUE_AGAIN = text("""
SELECT r.id FROM workflow_run r LEFT JOIN run_forecast f ON f.run_id = r.id AND f.current
WHERE r.state IN ('active', 'on_hold') AND r.open_count > 0
  AND coalesce(f.computed_at, '-infinity') < CASE WHEN r.business_date < CAST(:old AS date) THEN
      CAST(:before_of_old AS timestamptz) ELSE CAST(:before AS timestamptz) END
ORDER BY f.computed_at NULLS FIRST
LIMIT :limit
""")
_FORGET = text("""
DELETE FROM run_forecast WHERE id IN (
    SELECT id FROM run_forecast WHERE NOT current AND computed_at < :before LIMIT 10000)
""")


async def refresh_forecast(uow: UnitOfWork, *, run_id: UUID, wait: bool = True) -> Forecast | None:
    """Forecast a run and keep what is said; None where it is over, or (unless `wait`) where somebody else is at it."""
    if wait:
        await uow.execute(_LOCK, {"run": run_id})
    elif not await uow.scalar(_TRY_LOCK, {"run": run_id}):
        return None
    picture = await read_picture(uow, run_id)
    # Seconds of arithmetic for the largest runs: beside the event loop, which others wait for.
    ahead = await asyncio.to_thread(forecast, picture) if picture is not None else None
    values = {"run": run_id, "now": uow.now, "by": uow.actor.id}
    if ahead is None:
        if (await uow.execute(_CLEAR, values)).rowcount:
            uow.touch(f"run:{run_id}")
        return None
    given = _run_row(ahead, uow.now)
    kept = (await uow.execute(_KEEP_RUN, {**values, "given": given})).one()
    if not kept.moved_on:
        await uow.execute(_ADD_RUN, {**values, "given": given})
    stages = [{"stage_run_id": str(id_), **_target(estimate)} for id_, estimate in ahead.stages.items()]
    await uow.execute(_KEEP_STAGES, {**values, "given": stages})
    processes = [{"process_run_id": str(id_), **_process(estimate)} for id_, estimate in ahead.processes.items()]
    changed = (await uow.execute(_KEEP_PROCESSES, {**values, "given": processes})).scalars().all()
    if not kept.moved_on or changed:
        uow.touch(f"run:{run_id}", "runs", "entity:run_forecast")
        uow.touch(*(f"process_run:{id_}" for id_ in _shown(changed)))
    return ahead


def _shown(ids: Iterable[UUID]) -> list[UUID]:
    """So many pages are told that their process has another forecast; the others see it when they are loaded."""
    return list(ids)[:50]


async def pause_before(uow: UnitOfWork, *, run_id: UUID) -> timedelta | None:
    """How long to wait before the run is forecast again: the larger it is, the less often."""
    row = (await uow.execute(_TOO_SOON, {"run": run_id})).one_or_none()
    if row is None:
        return None
    pause: timedelta = LEAST_PAUSE + PAUSE_PER_PROCESS * int(row.process_count)
    left = row.computed_at + pause - uow.now
    return left if timedelta(0) < left <= pause else None


async def runs_due_again(uow: UnitOfWork, *, limit: int) -> list[UUID]:
    """Runs under way whose forecast is some minutes old, since time passes even where nothing happens."""
    values = {
        "old": (uow.now - OLD).date(),
        "before": uow.now - REFRESH_AFTER,
        "before_of_old": uow.now - REFRESH_OLD_AFTER,
        "limit": limit,
    }
    return list((await uow.execute(_DUE_AGAIN, values)).scalars())


async def forget_old_forecasts(uow: UnitOfWork) -> int:
    """Delete past forecasts that nobody compares with anything any more; return how many."""
    return int((await uow.execute(_FORGET, {"before": uow.now - timedelta(days=HISTORY_DAYS)})).rowcount)


def _run_row(ahead: Forecast, now: datetime) -> dict[str, Any]:
    counts = [estimate.observations for estimate in ahead.processes.values()]
    return {
        **_target(ahead.run),
        "computed_at": now.isoformat(),
        "miss_otherwise": _share(ahead.miss_otherwise),
        "open_count": len(ahead.processes),
        "observations": sorted(counts)[len(counts) // 2],
        "critical_path": [str(id_) for id_ in ahead.critical_path],
    }


def _target(estimate: Estimate) -> dict[str, Any]:
    return {
        "finish_p50": _minute(estimate.finish_p50),
        "finish_p90": _minute(estimate.finish_p90),
        "due_at": estimate.due_at.isoformat() if estimate.due_at else None,
        "miss": _share(estimate.miss),
        "reason": estimate.reason.value if estimate.reason else None,
        "driver_id": str(estimate.driver) if estimate.driver else None,
        "late": f"{round(estimate.late.total_seconds() / 60)} minutes" if estimate.late is not None else None,
    }


def _process(estimate: ProcessEstimate) -> dict[str, Any]:
    return {
        **_target(estimate.finish),
        "start_p50": _minute(estimate.start_p50),
        "criticality": _share(estimate.criticality),
        "on_critical_path": estimate.on_critical_path,
        "source": estimate.source.value,
        "observations": estimate.observations,
    }


def _minute(at: datetime | None) -> str | None:
    """To the minute: nothing is predicted more exactly, and rows that say the same stay as they are."""
    if at is None:
        return None
    return (at.astimezone(UTC) + timedelta(seconds=30)).replace(second=0, microsecond=0).isoformat()


def _share(value: float | None) -> str | None:
    """In hundredths, except that what may still go either way is neither never nor always."""
    if value is None:
        return None
    shown = Decimal(str(value)).quantize(Decimal("0.01"))
    return str(shown)
