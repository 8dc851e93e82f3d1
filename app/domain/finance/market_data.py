"""Rates in the database: loaded once per content, corrected by a new version, checked before they are approved."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, insert, select, text, update

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.finance.arithmetic import percent_of
from app.domain.finance.rate_checks import DatedRates, RateCheckPlan, RateFinding, RateFlag, RateLimits, check_rates
from app.domain.finance.rate_file import read_day
from models.base import uuid7

MAX_CORRECTION = Decimal("1e12")


@dataclass(frozen=True, slots=True)
class LoadedRates:
    """`loaded` False: this content was there already. `changed` are the currencies whose value is new."""

    load_id: UUID
    content_hash: str
    loaded: bool
    rows: int
    changed: tuple[str, ...]
    not_quoted: tuple[str, ...]


_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('market_rate', CAST(:day AS bigint)))")


async def load_rate_day(
    uow: UnitOfWork,
    business_date: date,
    *,
    source: str = "ECB",
    path: str | None = None,
    job_run_id: UUID | None = None,
) -> LoadedRates:
    """Load the rates of one date from the rate file; the same content a second time changes nothing."""
    authorize(uow, "create", "rate_load")
    day = read_day(Path(path) if path else None, business_date)
    await uow.execute(_LOCK, {"day": business_date.toordinal()})
    loads = uow.table("rate_load")
    known = await uow.scalar(
        select(loads.c.id).where(
            loads.c.source == source, loads.c.business_date == business_date, loads.c.content_hash == day.content_hash
        )
    )
    if known is not None:
        return LoadedRates(known, day.content_hash, False, len(day.rows), (), day.not_quoted)
    values = {row.currency: (row.rate, row.row_number) for row in day.rows}
    load_id, changed = await _store(
        uow,
        business_date,
        values,
        source=source,
        content_hash=day.content_hash,
        file_name=day.file_name,
        job_run_id=job_run_id,
        reason=None,
    )
    return LoadedRates(load_id, day.content_hash, True, len(day.rows), tuple(changed), day.not_quoted)


async def _store(
    uow: UnitOfWork,
    business_date: date,
    values: Mapping[str, tuple[Decimal, int | None]],
    *,
    source: str,
    content_hash: str,
    file_name: str,
    job_run_id: UUID | None,
    reason: str | None,
) -> tuple[UUID, list[str]]:
    loads, rates = uow.table("rate_load"), uow.table("market_rate")
    of_day = and_(loads.c.source == source, loads.c.business_date == business_date)
    version = int(await uow.scalar(select(func.coalesce(func.max(loads.c.version), 0)).where(of_day))) + 1
    stamp = {"row_version": 1, **_stamp(uow)}
    load_id = uuid7()
    await uow.execute(
        insert(loads).values(
            id=load_id,
            reference=f"LD-{source}-{business_date:%Y%m%d}-{version:02d}",
            source=source,
            business_date=business_date,
            version=version,
            content_hash=content_hash,
            file_name=file_name,
            row_count=len(values),
            job_run_id=job_run_id,
            reason=reason,
            **stamp,
        )
    )
    present = {
        row.currency: row
        for row in await uow.execute(
            select(rates.c.id, rates.c.currency, rates.c.value, rates.c.version).where(
                rates.c.source == source, rates.c.business_date == business_date, rates.c.current
            )
        )
    }
    changed = [c for c, (value, _) in values.items() if c not in present or present[c].value != value]
    old = [present[currency].id for currency in changed if currency in present]
    if old:
        await uow.execute(
            update(rates)
            .where(rates.c.id.in_(old))
            .values(current=False, row_version=rates.c.row_version + 1, **_restamp(uow))
        )
    previous = await current_rates(uow, await previous_rate_date(uow, business_date, source), source)
    rows = [
        {
            "id": uuid7(),
            "business_date": business_date,
            "currency": currency,
            "source": source,
            "value": values[currency][0],
            "previous_value": previous.get(currency),
            "change_percent": _change(values[currency][0], previous.get(currency)),
            "quality": "unchecked",
            "version": (present[currency].version if currency in present else 0) + 1,
            "current": True,
            "load_id": load_id,
            "row_number": values[currency][1],
            **stamp,
        }
        for currency in changed
    ]
    if rows:
        await uow.execute(insert(rates), rows)
        uow.touch("entity:market_rate")
    return load_id, changed


def _change(value: Decimal, previous: Decimal | None) -> Decimal | None:
    if previous is None:
        return None
    return percent_of(value - previous, previous).quantize(Decimal("0.000001"))


def _stamp(uow: UnitOfWork) -> dict[str, Any]:
    return {"created_at": uow.now, "created_by": uow.actor.id, **_restamp(uow)}


def _restamp(uow: UnitOfWork) -> dict[str, Any]:
    return {"updated_at": uow.now, "updated_by": uow.actor.id}


async def previous_rate_date(uow: UnitOfWork, business_date: date, source: str = "ECB") -> date | None:
    """The last date before this one that has rates."""
    rates = uow.table("market_rate")
    found: date | None = await uow.scalar(
        select(func.max(rates.c.business_date)).where(rates.c.source == source, rates.c.business_date < business_date)
    )
    return found


async def next_rate_date(uow: UnitOfWork, business_date: date, source: str = "ECB") -> date | None:
    """The first date after this one that has rates."""
    rates = uow.table("market_rate")
    found: date | None = await uow.scalar(
        select(func.min(rates.c.business_date)).where(rates.c.source == source, rates.c.business_date > business_date)
    )
    return found


async def current_rates(uow: UnitOfWork, business_date: date | None, source: str = "ECB") -> dict[str, Decimal]:
    """The rates in force of a date, `{currency: units per EUR}`; EUR itself is 1. Empty for no date."""
    if business_date is None:
        return {}
    rates = uow.table("market_rate")
    rows = await uow.execute(
        select(rates.c.currency, rates.c.value).where(
            rates.c.source == source, rates.c.business_date == business_date, rates.c.current
        )
    )
    found: dict[str, Decimal] = {row.currency: row.value for row in rows}
    return {**found, "EUR": Decimal(1)} if found else {}


async def rate_history(uow: UnitOfWork, before: date, count: int, source: str = "ECB") -> list[DatedRates]:
    """The rates of the `count` dates before a date, oldest first."""
    rates = uow.table("market_rate")
    dates = (
        select(rates.c.business_date)
        .where(rates.c.source == source, rates.c.business_date < before)
        .group_by(rates.c.business_date)
        .order_by(rates.c.business_date.desc())
        .limit(count)
    )
    rows = await uow.execute(
        select(rates.c.business_date, rates.c.currency, rates.c.value)
        .where(rates.c.source == source, rates.c.current, rates.c.business_date.in_(dates))
        .order_by(rates.c.business_date)
    )
    return [
        DatedRates(day, {row.currency: row.value for row in group})
        for day, group in groupby(rows, key=lambda row: row.business_date)
    ]


async def check_rate_day(
    uow: UnitOfWork, business_date: date, plan: RateCheckPlan, source: str = "ECB"
) -> Sequence[RateFinding]:
    """Check the rates of a date, mark each with its quality and return the findings."""
    today = await current_rates(uow, business_date, source)
    if not today:
        raise NotFound(f"There are no {source} rates of {business_date.isoformat()}; load them first.")
    history = await rate_history(uow, business_date, plan.history_needed, source)
    quoted = {currency: value for currency, value in today.items() if currency != "EUR"}
    findings = check_rates(DatedRates(business_date, quoted), history=history, plan=plan)
    rates = uow.table("market_rate")
    of_day = and_(rates.c.source == source, rates.c.business_date == business_date, rates.c.current)
    checked = update(rates).where(of_day).values(quality="ok", quality_note=None, **_restamp(uow))
    await uow.execute(checked)
    for finding in findings:
        if finding.flag is not RateFlag.MISSING:
            await uow.execute(
                update(rates)
                .where(of_day, rates.c.currency == finding.currency)
                .values(quality=finding.flag.value, quality_note=finding.explanation[:500])
            )
    uow.touch("entity:market_rate")
    return findings


def check_plan(parameter: Mapping[str, Any] | None) -> RateCheckPlan:
    """The plan that administrators keep in the parameter `finance.rate_checks`; see the demo package for its shape."""
    given = parameter or {}
    limits = _limits(given.get("limits") or {})
    by_currency = {c: _limits(values) for c, values in (given.get("limits_by_currency") or {}).items()}
    return RateCheckPlan(expected=tuple(given.get("expected") or ()), default=limits, by_currency=by_currency)


def _limits(given: Mapping[str, Any]) -> RateLimits:
    whole = {name: int(given[name]) for name in ("stale_after", "window", "min_moves") if name in given}
    exact = {
        name: Decimal(str(given[name])) for name in ("move_percent", "z_limit", "move_floor_percent") if name in given
    }
    return RateLimits(**whole, **exact)  # type: ignore[arg-type]


async def correct_rate(
    uow: UnitOfWork, *, business_date: date, currency: str, value: Decimal, reason: str, source: str = "ECB"
) -> UUID:
    """Replace one rate by a new version and return its load; the old version stays readable.

    Raises: NotFound for a rate that was never loaded, ValidationFailed, Conflict when the value is the same.
    """
    decision = authorize(uow, "transition:correct", "market_rate")
    problems = []
    if not reason.strip():
        problems.append(FieldProblem("reason", "say why the rate is corrected", "required"))
    if not 0 < value < MAX_CORRECTION:
        problems.append(FieldProblem("value", "must be more than zero"))
    if problems:
        raise ValidationFailed(problems)
    await uow.execute(_LOCK, {"day": business_date.toordinal()})
    before = await current_rates(uow, business_date, source)
    if currency not in before or currency == "EUR":
        raise NotFound(f"There is no {source} rate of {currency} on {business_date.isoformat()} to correct.")
    if before[currency] == value:
        raise Conflict(f"The rate of {currency} on {business_date.isoformat()} is {value} already.")
    content = hashlib.sha256(f"{uuid7()}|{currency}|{value}".encode()).hexdigest()
    load_id, _ = await _store(
        uow,
        business_date,
        {currency: (value, None)},
        source=source,
        content_hash=content,
        file_name="entered by hand",
        job_run_id=None,
        reason=reason.strip(),
    )
    uow.audit(
        AuditEntry(
            command="market_rate.correct",
            entity="rate_load",
            record_id=load_id,
            before={currency: before[currency]},
            after={currency: value},
            reason=reason.strip(),
            allowed_by=decision.allowed_by,
            context={"business_date": business_date, "source": source},
        )
    )
    return load_id
