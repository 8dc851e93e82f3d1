"""The figures of one node on one date, with their limits and the breaches at or below it, in one statement."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Text, cast, func, literal, select, text, true
from sqlalchemy.dialects.postgresql import JSONB

from app.core.uow import UnitOfWork
from app.domain.access.decisions import decide
from app.domain.access.scope import scope, scope_condition
from app.domain.finance.facts import SOURCE_BOOK, SOURCE_ROLLUP
from app.domain.finance.pnl import Measure

MOST_BREACHES = 100

# Whether the figures are there for a process to look at: what it waits for, however far back, has computed them.
BUILDS_ON_FIGURES = """
(WITH RECURSIVE before AS (
    SELECT p.run_id, p.id FROM process_run p WHERE p.id = :process_run_id
    UNION
    SELECT b.run_id, q.id FROM before b JOIN process_edge e ON e.successor_id = b.id AND e.run_id = b.run_id
    JOIN process_run q ON q.id = e.predecessor_id AND q.run_id = b.run_id
) SELECT EXISTS (SELECT FROM before b JOIN process_run p ON p.id = b.id JOIN process d ON d.id = p.process_id
                 WHERE b.id <> :process_run_id
                   AND d.action IN ('finance.compute_pnl', 'finance.roll_up', 'finance.test_thresholds')))
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a measure of the node is tested against; a limit that is None is not tested."""

    absolute: Decimal | None
    percent: Decimal | None
    percent_floor: Decimal | None
    zscore: Decimal | None


@dataclass(frozen=True, slots=True)
class BreachLine:
    """A breach of the node or of one below it. `may_comment`: the actor's grants allow it to explain this one."""

    id: UUID
    row_version: int
    node_id: UUID
    node_code: str
    node_label: str
    measure: str
    kind: str
    summary: str
    value: Decimal
    limit: Decimal
    state: str
    root_cause: str | None
    commentary: str | None
    commented_by: str | None
    commented_at: datetime | None
    may_comment: bool


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """EUR by measure. `computed_at`: when the latest of these was stored; `corrected`: how many were replaced."""

    figures: Mapping[Measure, Decimal]
    limits: Mapping[Measure, Limits]
    breaches: tuple[BreachLine, ...]
    computed_at: datetime | None
    corrected: int


async def node_figures(
    uow: UnitOfWork, *, node_id: UUID, business_date: date, process_run_id: UUID
) -> NodeFigures | None:
    """Read what the actor may see of it; None where that is nothing, or nothing that the process builds on."""
    if decide(uow.resources.policy, uow.registry, uow.actor, "read", "pnl_fact") is None:
        return None
    statement = select(
        text(f"{BUILDS_ON_FIGURES} AS related"),
        _as_json(_facts(uow, node_id, business_date)).label("facts"),
        _as_json(_limits(uow, node_id)).label("limits"),
        _as_json(_breaches(uow, node_id, business_date)).label("breaches"),
    )
    found = (await uow.execute(statement, {"process_run_id": process_run_id})).one()
    if not found.related or (not found.facts and not found.breaches):
        return None
    measures = set(Measure)
    return NodeFigures(
        figures={Measure(f["measure"]): Decimal(f["value"]) for f in found.facts if f["measure"] in measures},
        limits={Measure(x["measure"]): _limit(x) for x in found.limits if x["measure"] in measures},
        breaches=tuple(_breach(breach) for breach in found.breaches),
        computed_at=max((datetime.fromisoformat(f["at"]) for f in found.facts), default=None),
        corrected=sum(1 for f in found.facts if f["version"] > 1),
    )


def _as_json(rows: Select[Any]) -> Any:
    """A whole result as one value. Numbers are text in it: JSON would make floats of them."""
    part = rows.subquery()
    whole = func.coalesce(func.jsonb_agg(func.to_jsonb(part.table_valued())), cast(literal("[]"), JSONB))
    return select(cast(whole, JSONB)).select_from(part).scalar_subquery()


def _facts(uow: UnitOfWork, node_id: UUID, business_date: date) -> Select[Any]:
    facts = uow.table("pnl_fact")
    statement = select(
        facts.c.measure, cast(facts.c.value, Text).label("value"), facts.c.version, facts.c.created_at.label("at")
    ).where(
        facts.c.business_date == business_date,
        facts.c.book_id == node_id,
        facts.c.current,
        facts.c.currency == "EUR",
        facts.c.source.in_([SOURCE_BOOK, SOURCE_ROLLUP]),
    )
    return scope(statement, uow, "read", "pnl_fact")


def _limits(uow: UnitOfWork, node_id: UUID) -> Select[Any]:
    limits = uow.table("pnl_threshold")
    names = ("absolute_limit", "percent_limit", "percent_floor", "zscore_limit")
    columns = [cast(limits.c[name], Text).label(name) for name in names]
    statement = select(limits.c.measure, *columns).where(limits.c.node_id == node_id)
    return scope(statement, uow, "read", "pnl_threshold")


def _breaches(uow: UnitOfWork, node_id: UUID, business_date: date) -> Select[Any]:
    breaches, nodes, users = uow.table("breach"), uow.table("hierarchy_node"), uow.table("user")
    may = scope_condition(uow, "transition:comment", "breach")
    above = select(nodes.c.path).where(nodes.c.id == node_id).scalar_subquery()
    below = nodes.alias()
    statement = (
        select(
            breaches.c.id,
            breaches.c.row_version,
            breaches.c.book_id.label("node_id"),
            below.c.code.label("node_code"),
            below.c.label.label("node_label"),
            breaches.c.measure,
            breaches.c.kind,
            breaches.c.summary,
            cast(breaches.c.value, Text).label("value"),
            cast(breaches.c.limit, Text).label("limit"),
            breaches.c.state,
            breaches.c.root_cause,
            breaches.c.commentary,
            users.c.name.label("commented_by"),
            breaches.c.commented_at,
            (true() if may is None else may).label("may_comment"),
        )
        .join(below, below.c.id == breaches.c.book_id)
        .outerjoin(users, users.c.id == breaches.c.commented_by_id)
        .where(
            breaches.c.business_date == business_date,
            breaches.c.state != "withdrawn",
            below.c.path.op("<@", is_comparison=True)(above),
        )
        .order_by(breaches.c.state.desc(), below.c.code, breaches.c.measure, breaches.c.kind)
        .limit(MOST_BREACHES)
    )
    return scope(statement, uow, "read", "breach")


def _limit(values: Mapping[str, Any]) -> Limits:
    def exact(name: str) -> Decimal | None:
        return Decimal(values[name]) if values[name] is not None else None

    return Limits(exact("absolute_limit"), exact("percent_limit"), exact("percent_floor"), exact("zscore_limit"))


def _breach(values: Mapping[str, Any]) -> BreachLine:
    at = values["commented_at"]
    return BreachLine(
        **{
            **values,
            "id": UUID(values["id"]),
            "node_id": UUID(values["node_id"]),
            "value": Decimal(values["value"]),
            "limit": Decimal(values["limit"]),
            "commented_at": datetime.fromisoformat(at) if at else None,
        }
    )
