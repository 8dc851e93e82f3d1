"""Limits and severity by rule: a threshold that names a business rule asks it about each figure that is tested."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.core.errors import StepsError, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.finance.pnl import Measure
from app.domain.rules.evaluation import KeepFor, evaluate_many, facts_of

LIMITS = ("absolute_limit", "percent_limit", "percent_floor", "zscore_limit")
_NODES = text(
    """
SELECT n.id, n.attributes->>'kind' AS node_kind, n.attributes->>'currency' AS currency, nlevel(n.path) AS level,
       ARRAY(SELECT a.code FROM hierarchy_node a WHERE a.path @> n.path ORDER BY nlevel(a.path)) AS path
FROM hierarchy_node n WHERE n.id = ANY(CAST(:nodes AS uuid[]))
"""
)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one threshold for one figure, and how severe a breach of them is."""

    absolute_limit: Decimal | None
    percent_limit: Decimal | None
    percent_floor: Decimal | None
    zscore_limit: Decimal | None
    severity: str | None = None


async def limits_of(
    uow: UnitOfWork,
    business_date: date,
    thresholds: Sequence[Mapping[str, Any]],
    amounts: Mapping[str, Mapping[Measure, Decimal]],
) -> dict[UUID, Limits]:
    """The limits of each threshold, by its id: its own, unless its rule answers others for today's figure.

    Rows without a rule cost nothing. One statement for the nodes and, for each rule, one to keep its decisions.

    Raises: ValidationFailed that names the rule, where it cannot decide.
    """
    found = {row["id"]: Limits(**{name: row[name] for name in LIMITS}) for row in thresholds}
    asking: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in thresholds:
        if row["rule_code"] is not None and Measure(row["measure"]) in amounts.get(row["code"], {}):
            asking[row["rule_code"]].append(row)
    if not asking:
        return found
    ids = [str(row["node_id"]) for rows in asking.values() for row in rows]
    nodes = {row["id"]: dict(row) for row in (await uow.execute(_NODES, {"nodes": ids})).mappings()}
    for code, rows in asking.items():
        try:
            found |= await _asked(uow, code, business_date, rows, amounts=amounts, nodes=nodes)
        except ValidationFailed as error:
            raise ValidationFailed(error.problems, f"The rule {code}: {error.detail}") from None
        except StepsError as error:
            raise ValidationFailed([], f"The rule {code} gives no limits: {error.detail}") from None
    return found


async def _asked(
    uow: UnitOfWork,
    code: str,
    business_date: date,
    rows: Sequence[Mapping[str, Any]],
    *,
    amounts: Mapping[str, Mapping[Measure, Decimal]],
    nodes: Mapping[UUID, Mapping[str, Any]],
) -> dict[UUID, Limits]:
    taken = await facts_of(uow, code=code, at=business_date)
    inputs = []
    for row in rows:
        node, figures, measure = nodes[row["node_id"]], amounts[row["code"]], Measure(row["measure"])
        facts = {
            "node": row["code"],
            "node_kind": node["node_kind"],
            "level": node["level"],
            "path": node["path"],
            "measure": measure.value,
            "currency": node["currency"],
            "business_date": business_date,
            "value": figures[measure],
            "flash": figures.get(Measure.FLASH),
        }
        inputs.append({name: value for name, value in facts.items() if name in taken})
    kept = [KeepFor("pnl_threshold", row["id"], f"limits on {business_date}") for row in rows]
    decisions = await evaluate_many(uow, code=code, inputs=inputs, keep_for=kept, at=business_date)
    found = {}
    for row, decision in zip(rows, decisions, strict=True):
        answer = decision.output
        limits = {name: row[name] if answer.get(name) is None else answer[name] for name in LIMITS}
        found[row["id"]] = Limits(**limits, severity=answer.get("severity"))
    return found
