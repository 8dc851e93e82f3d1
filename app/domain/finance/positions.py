"""Positions of a date: what a book held the evening before, what it traded, what it holds now."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import text

from app.core.uow import UnitOfWork
from app.domain.finance.counted_trades import COUNTED
from app.domain.finance.facts import lock_date

# The position of record the evening before is the last one kept; a book and currency without one begins at zero.
_COMPUTED = f"""
WITH before AS (
    SELECT DISTINCT ON (book_id, currency) book_id, currency, closing
    FROM position WHERE current AND business_date < :business_date
    ORDER BY book_id, currency, business_date DESC
), traded AS (
    SELECT book_id, currency, sum(quantity) AS quantity FROM trade
    WHERE trade_date = :business_date AND {COUNTED} GROUP BY 1, 2
), computed AS (
    SELECT coalesce(b.book_id, t.book_id) AS book_id, coalesce(b.currency, t.currency) AS currency,
           coalesce(b.closing, 0) AS opening, coalesce(t.quantity, 0) AS traded,
           coalesce(b.closing, 0) + coalesce(t.quantity, 0) AS closing
    FROM before b FULL JOIN traded t ON t.book_id = b.book_id AND t.currency = b.currency
), changed AS (
    SELECT c.*, p.id AS old_id, coalesce(p.version, 0) + 1 AS version
    FROM computed c LEFT JOIN position p ON p.current AND p.business_date = :business_date AND p.book_id = c.book_id
        AND p.currency = c.currency
    WHERE (p.opening, p.traded, p.closing) IS DISTINCT FROM (c.opening, c.traded, c.closing)
)
"""
_SUPERSEDE = text(
    _COMPUTED
    + "UPDATE position SET current = false, updated_at = :now, row_version = row_version + 1 "
    + "WHERE id IN (SELECT old_id FROM changed)"
)
# After the superseding statement the rows in force are gone, so the versions are counted over all of them.
_INSERT = text(
    _COMPUTED
    + """
INSERT INTO position (id, row_version, created_at, created_by, updated_at, updated_by, business_date, book_id, currency,
                      opening, traded, closing, version, current)
SELECT uuidv7(), 1, :now, :actor, :now, :actor, :business_date, c.book_id, c.currency, c.opening, c.traded, c.closing,
       coalesce((SELECT max(version) FROM position o WHERE o.business_date = :business_date AND o.book_id = c.book_id
                 AND o.currency = c.currency), 0) + 1, true
FROM changed c
"""
)
_SUMMARY = text(
    f"""
SELECT count(*) AS positions, count(DISTINCT p.book_id) AS books,
       encode(sha256(coalesce(string_agg(p.book_id || '|' || p.currency || '|' || p.opening || '|' || p.closing, ','
                                         ORDER BY p.book_id, p.currency), '')::bytea), 'hex') AS fingerprint,
       (SELECT count(*) FROM trade WHERE trade_date = :business_date AND {COUNTED}) AS trades
FROM position p WHERE p.current AND p.business_date = :business_date
"""
)


@dataclass(frozen=True, slots=True)
class LoadedPositions:
    positions: int
    books: int
    trades: int
    changed: int
    fingerprint: str


async def load_positions(uow: UnitOfWork, business_date: date) -> LoadedPositions:
    """Compute and keep the positions of a date out of the evening before and the trades of the day.

    A second time only what differs becomes a new version; set-based, four statements.
    """
    await lock_date(uow, business_date)
    values = {"business_date": business_date, "now": uow.now}
    await uow.execute(_SUPERSEDE, values)
    written = (await uow.execute(_INSERT, {**values, "actor": uow.actor.id})).rowcount
    found = (await uow.execute(_SUMMARY, {"business_date": business_date})).one()
    if written:
        uow.touch("entity:position")
    return LoadedPositions(found.positions, found.books, found.trades, written, found.fingerprint)
