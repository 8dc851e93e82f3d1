"""Rules as tests write them: a code, some rows, a case that holds."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from app.core.actor import Actor
from app.domain.entities.service import create_record
from app.domain.rules.definitions import RuleContent
from app.domain.rules.drafts import save_draft
from app.domain.rules.publishing import publish
from tests.factories import SYSTEM, World
from tests.unit.rules.tables import table

HIGH, LOW = {"severity": "high"}, {"severity": "low"}
BIG = [({"pnl": ">= 1000"}, HIGH), ({}, LOW)]
CASES = [
    {"label": "big", "input": {"pnl": "1000", "desk": "EM"}, "expected": {"severity": "high"}},
    {"label": "small", "input": {"pnl": "999.99", "desk": "EM"}, "expected": {"severity": "low"}},
]


async def new_rule(world: World, code: str = "SEVERITY", **values: Any) -> UUID:
    async with world.runtime.uow(SYSTEM) as uow:
        given = {"code": code, "label": code.title(), "application": str(world.applications["PNL"]), **values}
        return UUID(str((await create_record(uow, "rule", given))["id"]))


async def draft(
    world: World,
    rule_id: UUID,
    content: RuleContent | None = None,
    *,
    tests: Sequence[Mapping[str, Any]] | None = CASES,
    actor: Actor = SYSTEM,
) -> UUID:
    async with world.runtime.uow(actor) as uow:
        saved = await save_draft(uow, rule_id=rule_id, content=content or table(BIG), tests=tests)
    return saved.version_id


async def in_force(
    world: World,
    code: str = "SEVERITY",
    content: RuleContent | None = None,
    *,
    tests: Sequence[Mapping[str, Any]] = CASES,
    valid_from: date | None = None,
    **values: Any,
) -> UUID:
    """A rule with a published version; returns the id of the rule."""
    rule_id = await new_rule(world, code, **values)
    version = await draft(world, rule_id, content, tests=tests)
    async with world.runtime.uow(SYSTEM) as uow:
        await publish(uow, version_id=version, valid_from=valid_from)
    return rule_id
