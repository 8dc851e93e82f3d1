"""Versioned facts: a figure is never overwritten; a different one becomes the next version, and the old one stays."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text

from app.core.uow import UnitOfWork

SOURCE_POSITION = "position"  # one currency of one book
SOURCE_BOOK = "book"  # all of a book, in EUR
SOURCE_ROLLUP = "rollup"  # a node above books, in EUR


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure to store: EUR, exact to eighteen decimals. `currency` is that of the position; EUR for totals."""

    book_id: UUID
    measure: str
    currency: str
    source: str
    value: Decimal


@dataclass(frozen=True, slots=True)
class Stored:
    """How many figures were new, how many were corrected, how many were the same as before."""

    new: int
    corrected: int
    unchanged: int
    fingerprint: str


# Only what differs from the figure in force is written; the caller holds the lock of the business date.
_CHANGED = """
WITH given AS (
    SELECT * FROM unnest(CAST(:books AS uuid[]), CAST(:measures AS text[]), CAST(:currencies AS text[]),
                         CAST(:sources AS text[]), CAST(:values AS numeric[]))
        AS g (book_id, measure, currency, source, value)
)
SELECT g.book_id, g.measure, g.currency, g.source, g.value, f.id AS old_id, f.version AS old_version,
       (SELECT count(*) FROM given) AS given
FROM given g LEFT JOIN pnl_fact f ON f.business_date = :business_date AND f.current AND f.book_id = g.book_id
    AND f.measure = g.measure AND f.currency = g.currency AND f.source = g.source
WHERE f.value IS DISTINCT FROM g.value
"""
_SUPERSEDE = text(
    "UPDATE pnl_fact SET current = false, superseded_at = :now, updated_at = :now, row_version = row_version + 1 "
    "WHERE id = ANY(CAST(:ids AS uuid[]))"
)
_INSERT = text(
    """
INSERT INTO pnl_fact (id, row_version, created_at, created_by, updated_at, updated_by, business_date, book_id, measure,
                      currency, source, version, value, current, run_id, job_run_id, input_fingerprint)
SELECT uuidv7(), 1, :now, :actor, :now, :actor, :business_date, g.book_id, g.measure, g.currency, g.source, g.version,
       g.value, true, :run_id, :job_run_id, :fingerprint
FROM unnest(CAST(:books AS uuid[]), CAST(:measures AS text[]), CAST(:currencies AS text[]), CAST(:sources AS text[]),
            CAST(:values AS numeric[]), CAST(:versions AS bigint[]))
    AS g (book_id, measure, currency, source, value, version)
"""
)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('pnl_fact', CAST(:day AS bigint)))")


async def lock_date(uow: UnitOfWork, business_date: date) -> None:
    """Let one transaction at a time write the figures of a date, so that versions are numbered without gaps."""
    await uow.execute(_LOCK, {"day": business_date.toordinal()})


async def store_facts(
    uow: UnitOfWork,
    business_date: date,
    facts: Sequence[Fact],
    *,
    run_id: UUID | None = None,
    job_run_id: UUID | None = None,
    input_fingerprint: str | None = None,
) -> Stored:
    """Write the figures of a date that differ from those in force, as new versions. Set-based, any number of facts."""
    await lock_date(uow, business_date)
    given = {
        "books": [str(fact.book_id) for fact in facts],
        "measures": [fact.measure for fact in facts],
        "currencies": [fact.currency for fact in facts],
        "sources": [fact.source for fact in facts],
        "values": [fact.value for fact in facts],
        "business_date": business_date,
    }
    changed = (await uow.execute(text(_CHANGED), given)).mappings().all()
    superseded = [str(row["old_id"]) for row in changed if row["old_id"] is not None]
    if superseded:
        await uow.execute(_SUPERSEDE, {"ids": superseded, "now": uow.now})
    if changed:
        rows = {
            "books": [str(row["book_id"]) for row in changed],
            "measures": [row["measure"] for row in changed],
            "currencies": [row["currency"] for row in changed],
            "sources": [row["source"] for row in changed],
            "values": [row["value"] for row in changed],
            "versions": [(row["old_version"] or 0) + 1 for row in changed],
            "now": uow.now,
            "actor": uow.actor.id,
            "business_date": business_date,
            "run_id": run_id,
            "job_run_id": job_run_id,
            "fingerprint": input_fingerprint,
        }
        await uow.execute(_INSERT, rows)
        uow.touch("entity:pnl_fact")
    new = len(changed) - len(superseded)
    return Stored(new, len(superseded), len(facts) - len(changed), fingerprint_of(facts))


def fingerprint_of(facts: Sequence[Fact]) -> str:
    """The same figures give the same fingerprint, in whatever order they come."""
    lines = sorted(f"{f.book_id}|{f.measure}|{f.currency}|{f.source}|{f.value.normalize():f}" for f in facts)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
