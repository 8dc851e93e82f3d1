"""PnL of a date in the database: per book, rolled up, and computed again where a rate was corrected."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select, text

from app.core.errors import Conflict
from app.core.uow import UnitOfWork
from app.domain.finance.counted_trades import is_counted
from app.domain.finance.facts import (
    SOURCE_BOOK,
    SOURCE_POSITION,
    SOURCE_ROLLUP,
    Fact,
    Stored,
    store_facts,
)
from app.domain.finance.market_data import current_rates, next_rate_date, previous_rate_date
from app.domain.finance.pnl import Measure, PositionKey, PositionPnl, Trade, compute_pnl, total_by_book

BOOK_HIERARCHY = "DESK"
ROLLUP_MEASURES = (Measure.FLASH, Measure.ACTUAL, Measure.MARKET_MOVE, Measure.NEW_TRADES, Measure.UNEXPLAINED)


@dataclass(frozen=True, slots=True)
class ComputedPnl:
    books: int
    positions: int
    stored: Stored
    by_book: Mapping[str, Decimal]


# Books are the leaves of the desk hierarchy; a node without attributes is its own answer.
_BOOKS = text(
    """
SELECT n.id, n.code FROM hierarchy_node n JOIN hierarchy h ON h.id = n.hierarchy_id
WHERE h.code = :hierarchy AND n.attributes ->> 'kind' = 'book'
  AND (CAST(:node AS uuid) IS NULL OR n.path <@ (SELECT path FROM hierarchy_node WHERE id = :node))
ORDER BY n.code
"""
)


async def books_below(uow: UnitOfWork, node_id: UUID | None) -> dict[UUID, str]:
    """Id -> code of the books at or below a node; all books for None."""
    rows = await uow.execute(_BOOKS, {"hierarchy": BOOK_HIERARCHY, "node": node_id})
    return {row.id: row.code for row in rows}


async def compute_books(
    uow: UnitOfWork,
    business_date: date,
    *,
    node_id: UUID | None = None,
    run_id: UUID | None = None,
    job_run_id: UUID | None = None,
) -> ComputedPnl:
    """Compute and keep the PnL of every book below a node. Raises Conflict when rates or positions are not there."""
    books = await books_below(uow, node_id)
    previous = await previous_rate_date(uow, business_date)
    rates, previous_rates = await current_rates(uow, business_date), await current_rates(uow, previous)
    if not rates or not previous_rates:
        raise Conflict(f"There are no rates of {business_date.isoformat()} or of the date before; load them first.")
    opening, closing = await _positions(uow, business_date, books)
    if not closing and not opening:
        raise Conflict(f"There are no positions of {business_date.isoformat()}; load them first.")
    trades = await _trades(uow, business_date, books)
    results = compute_pnl(opening=opening, trades=trades, rates=rates, previous_rates=previous_rates, closing=closing)
    ids = {code: id_ for id_, code in books.items()}
    stored = await store_facts(uow, business_date, _facts(results, ids), run_id=run_id, job_run_id=job_run_id)
    totals = {code: total.amounts[Measure.ACTUAL] for code, total in total_by_book(results).items()}
    return ComputedPnl(len(books), len(results), stored, totals)


def _facts(results: Sequence[PositionPnl], ids: Mapping[str, UUID]) -> list[Fact]:
    facts = [
        Fact(ids[result.book], measure.value, result.currency, SOURCE_POSITION, value)
        for result in results
        for measure, value in result.measures().items()
    ]
    for code, total in total_by_book(results).items():
        facts += [Fact(ids[code], m.value, "EUR", SOURCE_BOOK, value) for m, value in total.amounts.items()]
    return facts


async def _positions(
    uow: UnitOfWork, business_date: date, books: Mapping[UUID, str]
) -> tuple[dict[PositionKey, Decimal], dict[PositionKey, Decimal]]:
    table = uow.table("position")
    rows = await uow.execute(
        select(table.c.book_id, table.c.currency, table.c.opening, table.c.closing).where(
            table.c.business_date == business_date, table.c.current, table.c.book_id.in_(list(books))
        )
    )
    opening: dict[PositionKey, Decimal] = {}
    closing: dict[PositionKey, Decimal] = {}
    for row in rows:
        key = PositionKey(books[row.book_id], row.currency)
        opening[key], closing[key] = row.opening, row.closing
    return opening, closing


async def _trades(uow: UnitOfWork, business_date: date, books: Mapping[UUID, str]) -> list[Trade]:
    table = uow.table("trade")
    rows = await uow.execute(
        select(table.c.reference, table.c.book_id, table.c.currency, table.c.quantity, table.c.rate, table.c.late)
        .where(
            table.c.trade_date == business_date,
            table.c.book_id.in_(list(books)),
            is_counted(table, uow.table("lifecycle_state")),
        )
        .order_by(table.c.reference)
    )
    return [
        Trade(row.reference, business_date, books[row.book_id], row.currency, row.quantity, row.rate, row.late)
        for row in rows
    ]


# A book stands in the desk hierarchy; its attributes name its node in the others.
_ROLLUP = text(
    """
WITH leaf AS (
    SELECT f.measure, f.value, b.path AS desk_path, b.attributes
    FROM pnl_fact f JOIN hierarchy_node b ON b.id = f.book_id
    WHERE f.business_date = :business_date AND f.current AND f.source = :book_source AND f.measure = ANY(:measures)
), placed AS (
    SELECT l.measure, l.value, l.desk_path AS path FROM leaf l WHERE :own
    UNION ALL
    SELECT l.measure, l.value, n.path
    FROM leaf l JOIN hierarchy h ON h.code = :hierarchy
        JOIN hierarchy_node n ON n.hierarchy_id = h.id AND n.code = l.attributes ->> :attribute
    WHERE NOT :own
)
SELECT n.id, p.measure, sum(p.value) AS value
FROM hierarchy_node n JOIN hierarchy h ON h.id = n.hierarchy_id AND h.code = :hierarchy
    JOIN placed p ON p.path <@ n.path
WHERE n.attributes ->> 'kind' IS DISTINCT FROM 'book'
GROUP BY n.id, p.measure
"""
)


async def roll_up(
    uow: UnitOfWork,
    business_date: date,
    hierarchies: Sequence[str],
    *,
    run_id: UUID | None = None,
    job_run_id: UUID | None = None,
) -> Stored:
    """Sum the books along each hierarchy and keep the figures of every node above a book."""
    facts: list[Fact] = []
    for hierarchy in hierarchies:
        rows = await uow.execute(
            _ROLLUP,
            {
                "business_date": business_date,
                "book_source": SOURCE_BOOK,
                "measures": [measure.value for measure in ROLLUP_MEASURES],
                "own": hierarchy == BOOK_HIERARCHY,
                "hierarchy": hierarchy,
                "attribute": hierarchy.lower(),
            },
        )
        facts += [Fact(row.id, row.measure, "EUR", SOURCE_ROLLUP, row.value) for row in rows]
    return await store_facts(uow, business_date, facts, run_id=run_id, job_run_id=job_run_id)


_HIERARCHIES = text(
    """
SELECT DISTINCT h.code
FROM pnl_fact f JOIN hierarchy_node n ON n.id = f.book_id JOIN hierarchy h ON h.id = n.hierarchy_id
WHERE f.business_date = :business_date AND f.source = :source AND f.current ORDER BY h.code
"""
)


async def recompute_after_correction(uow: UnitOfWork, business_date: date) -> dict[date, int]:
    """Compute again what a corrected rate changes: its own date and the next one. Date -> corrected figures."""
    changed: dict[date, int] = defaultdict(int)
    for day in (business_date, await next_rate_date(uow, business_date)):
        if day is None or not await _has_facts(uow, day):
            continue
        computed = await compute_books(uow, day)
        found = await uow.execute(_HIERARCHIES, {"business_date": day, "source": SOURCE_ROLLUP})
        rolled = await roll_up(uow, day, found.scalars().all())
        changed[day] = computed.stored.corrected + rolled.corrected
    return dict(changed)


async def _has_facts(uow: UnitOfWork, business_date: date) -> bool:
    table = uow.table("pnl_fact")
    return await uow.scalar(select(table.c.id).where(table.c.business_date == business_date).limit(1)) is not None
