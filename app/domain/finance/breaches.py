"""Threshold tests over stored figures, the breaches they find, and the commentary that each of them needs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update

from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, NotFound, StaleVersion, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope
from app.domain.finance.facts import SOURCE_BOOK, SOURCE_ROLLUP
from app.domain.finance.pnl import Measure
from app.domain.finance.threshold_rules import Limits, limits_of
from app.domain.finance.thresholds import Breach, Threshold, find_breaches, thresholds_of

HISTORY = 60
MIN_COMMENTARY = 40
MAX_COMMENTARY = 4_000

_AMOUNTS = text(
    """
SELECT f.business_date, n.code, f.measure, f.value
FROM pnl_fact f JOIN hierarchy_node n ON n.id = f.book_id
WHERE f.current AND f.source = ANY(:sources) AND f.currency = 'EUR' AND f.book_id = ANY(CAST(:nodes AS uuid[]))
  AND f.business_date <= :business_date AND f.business_date > CAST(:business_date AS date) - 120
ORDER BY f.business_date
"""
)
_UPSERT = text(
    """
INSERT INTO breach (id, row_version, created_at, created_by, updated_at, updated_by, business_date, book_id, measure,
                    kind, summary, value, "limit", severity, state, run_id)
SELECT uuidv7(), 1, :now, :actor, :now, :actor, :business_date, b.book_id, b.measure, b.kind, b.summary, b.value,
       b.bound, b.severity, 'open', :run_id
FROM unnest(CAST(:books AS uuid[]), CAST(:measures AS text[]), CAST(:kinds AS text[]), CAST(:summaries AS text[]),
            CAST(:values AS numeric[]), CAST(:bounds AS numeric[]), CAST(:severities AS text[]))
     AS b (book_id, measure, kind, summary, value, bound, severity)
ON CONFLICT (business_date, book_id, measure, kind) DO UPDATE SET
    summary = excluded.summary, value = excluded.value, "limit" = excluded."limit", severity = excluded.severity,
    updated_at = excluded.updated_at, row_version = breach.row_version + 1,
    -- A comment was written about a figure: when the figure changes, it is to be looked at again.
    state = CASE WHEN breach.value = excluded.value AND breach.state = 'commented' THEN 'commented' ELSE 'open' END
"""
)


async def run_threshold_tests(
    uow: UnitOfWork, business_date: date, *, node_id: UUID | None, run_id: UUID | None
) -> list[Breach]:
    """Test every threshold at or below a node, keep the breaches and withdraw those that are none any more."""
    rows = await _thresholds(uow, node_id)
    ids = {row["code"]: row["node_id"] for row in rows}
    amounts, history = await _figures(uow, business_date, list(ids.values()))
    limits = await limits_of(uow, business_date, rows, amounts)
    severities = {(row["code"], row["measure"]): limits[row["id"]].severity for row in rows}
    thresholds = [threshold for row in rows for threshold in _tests(row, limits[row["id"]])]
    found = find_breaches([t for t in thresholds if t.node in amounts], amounts=amounts, history=history)
    if found:
        await uow.execute(
            _UPSERT,
            {
                "now": uow.now,
                "actor": uow.actor.id,
                "business_date": business_date,
                "run_id": run_id,
                "books": [str(ids[breach.node]) for breach in found],
                "measures": [breach.measure.value for breach in found],
                "kinds": [breach.kind.value for breach in found],
                "summaries": [breach.text for breach in found],
                "values": [breach.value for breach in found],
                "bounds": [breach.limit for breach in found],
                "severities": [severities[breach.node, breach.measure.value] for breach in found],
            },
        )
    await _withdraw(uow, business_date, list(ids.values()), found, ids)
    uow.touch("entity:breach")
    return list(found)


async def _thresholds(uow: UnitOfWork, node_id: UUID | None) -> list[dict[str, Any]]:
    """The thresholds at or below a node, with the code of the node and that of the rule."""
    table, nodes, rules = uow.table("pnl_threshold"), uow.table("hierarchy_node"), uow.table("rule")
    statement = (
        select(table, nodes.c.code, rules.c.code.label("rule_code"))
        .join(nodes, nodes.c.id == table.c.node_id)
        .outerjoin(rules, rules.c.id == table.c.rule_id)
    )
    if node_id is not None:
        below = select(nodes.c.id).where(
            nodes.c.path.op("<@")(select(nodes.c.path).where(nodes.c.id == node_id).scalar_subquery())
        )
        statement = statement.where(table.c.node_id.in_(below))
    rows = await uow.execute(statement.order_by(nodes.c.code, table.c.measure))
    return [dict(row) for row in rows.mappings()]


def _tests(row: Mapping[str, Any], limits: Limits) -> tuple[Threshold, ...]:
    return thresholds_of(
        row["code"],
        Measure(row["measure"]),
        absolute_limit=limits.absolute_limit,
        percent_limit=limits.percent_limit,
        percent_floor=limits.percent_floor,
        zscore_limit=limits.zscore_limit,
    )


async def _figures(
    uow: UnitOfWork, business_date: date, nodes: Sequence[UUID]
) -> tuple[dict[str, dict[Measure, Decimal]], dict[tuple[str, Measure], list[Decimal]]]:
    """Today's figures by node, and those of the dates before by node and measure, oldest first."""
    amounts: dict[str, dict[Measure, Decimal]] = defaultdict(dict)
    history: dict[tuple[str, Measure], list[Decimal]] = defaultdict(list)
    values = {
        "sources": [SOURCE_BOOK, SOURCE_ROLLUP],
        "nodes": [str(node) for node in nodes],
        "business_date": business_date,
    }
    for row in await uow.execute(_AMOUNTS, values):
        if row.business_date == business_date:
            amounts[row.code][Measure(row.measure)] = row.value
        else:
            history[row.code, Measure(row.measure)].append(row.value)
    return amounts, {key: values[-HISTORY:] for key, values in history.items()}


async def _withdraw(
    uow: UnitOfWork, business_date: date, nodes: Sequence[UUID], found: Sequence[Breach], ids: Mapping[str, UUID]
) -> None:
    table = uow.table("breach")
    kept = {(ids[b.node], b.measure.value, b.kind.value) for b in found}
    rows = await uow.execute(
        select(table.c.id, table.c.book_id, table.c.measure, table.c.kind).where(
            table.c.business_date == business_date, table.c.book_id.in_(list(nodes)), table.c.state != "withdrawn"
        )
    )
    gone = [row.id for row in rows if (row.book_id, row.measure, row.kind) not in kept]
    if gone:
        stamp = {"updated_at": uow.now, "row_version": table.c.row_version + 1}
        await uow.execute(update(table).where(table.c.id.in_(gone)).values(state="withdrawn", **stamp))


async def comment_breach(
    uow: UnitOfWork, breach_id: UUID, *, root_cause: str, commentary: str, expected_version: int
) -> dict[str, Any]:
    """Explain a breach. Raises ValidationFailed for a short text, StaleVersion, NotFound, Forbidden."""
    decision = await require_in_scope(uow, "transition:comment", "breach", breach_id)
    entity = uow.registry.entity("breach")
    causes = [option.value for option in entity.field("root_cause").options]
    text_ = commentary.strip()
    problems = []
    if root_cause not in causes:
        problems.append(FieldProblem("root_cause", f"must be one of: {', '.join(causes)}"))
    if not MIN_COMMENTARY <= len(text_) <= MAX_COMMENTARY:
        problems.append(
            FieldProblem("commentary", f"{len(text_)} of at least {MIN_COMMENTARY} characters: say what moved and why")
        )
    if problems:
        raise ValidationFailed(problems)
    table = uow.table("breach")
    row = (await uow.execute(select(table).where(table.c.id == breach_id).with_for_update())).mappings().one_or_none()
    if row is None or row["state"] == "withdrawn":
        raise NotFound("This breach was withdrawn: the figures are within their limits now.")
    if row["row_version"] != expected_version:
        raise StaleVersion("The breach was changed since you opened it; look at the figures again.")
    values = {
        "root_cause": root_cause,
        "commentary": text_,
        "state": "commented",
        "commented_by_id": uow.actor.id,
        "commented_at": uow.now,
    }
    stamp = {"updated_at": uow.now, "updated_by": uow.actor.id, "row_version": expected_version + 1}
    statement = update(table).where(table.c.id == breach_id).values(**values, **stamp).returning(*table.c)
    after = dict((await uow.execute(statement)).mappings().one())
    uow.audit(
        AuditEntry(
            command="breach.comment",
            entity="breach",
            record_id=breach_id,
            before={name: row[name] for name in ("state", "root_cause", "commentary")},
            after={name: after[name] for name in ("state", "root_cause", "commentary")},
            allowed_by=decision.allowed_by,
        )
    )
    uow.touch("entity:breach", f"breach:{breach_id}")
    return after


async def breaches_of(uow: UnitOfWork, business_date: date, node_id: UUID | None) -> list[dict[str, Any]]:
    """The breaches of a date at or below a node, open ones first."""
    table, nodes = uow.table("breach"), uow.table("hierarchy_node")
    statement = (
        select(table, nodes.c.label.label("node_label"), nodes.c.code.label("node_code"))
        .join(nodes, nodes.c.id == table.c.book_id)
        .where(table.c.business_date == business_date, table.c.state != "withdrawn")
        .order_by(table.c.state.desc(), nodes.c.code, table.c.measure, table.c.kind)
    )
    if node_id is not None:
        above = select(nodes.c.path).where(nodes.c.id == node_id).scalar_subquery()
        statement = statement.where(nodes.c.path.op("<@")(above))
    return [dict(row) for row in (await uow.execute(statement)).mappings()]
