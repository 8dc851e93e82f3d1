"""How a process goes on, decided by a rule: who owns it, how many levels approve it, whether it is skipped.

The workflow asks when a process becomes ready and when it is submitted; it applies the answer with its own checks, so
a rule can never lower what the definition of the process guards (maker is not checker, a skip needs its permission).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.core.uow import UnitOfWork
from app.domain.rules.compiled import RuleFailed
from app.domain.rules.evaluation import Decision, KeepFor, evaluate_many, facts_of
from app.domain.rules.purposes import CONTRACTS, Purpose


class Moment(StrEnum):
    READY = "ready"
    SUBMIT = "submit"


@dataclass(frozen=True, slots=True)
class Routing:
    """What the rule said; None leaves what the definition of the process says."""

    owner_role: str | None
    approval_levels: int | None
    skip: bool
    reason: str
    rule: str
    version: int
    version_id: UUID

    @property
    def changes(self) -> bool:
        return self.skip or self.owner_role is not None or self.approval_levels is not None


async def route_processes(
    uow: UnitOfWork,
    *,
    code: str,
    moment: Moment,
    processes: Sequence[tuple[UUID, Mapping[str, Any]]],
    at: date | None = None,
) -> dict[UUID, Routing]:
    """Ask the rule `code` about process runs, each with its facts (those of the purpose `process_routing`).

    Facts that the rule does not take are left out, so that callers give all they have. Every decision is kept with its
    process run. Three statements at most, whatever the number of processes.

    Raises: NotFound, NoRuleInForce, ValidationFailed, RuleFailed.
    """
    if not processes:
        return {}
    inputs = [{**facts, "moment": moment.value} for _, facts in processes]
    taken = await facts_of(uow, code=code, at=at)
    decisions = await evaluate_many(
        uow,
        code=code,
        inputs=[{name: value for name, value in given.items() if name in taken} for given in inputs],
        keep_for=[KeepFor("process_run", run_id, f"routing:{moment}") for run_id, _ in processes],
        at=at,
    )
    routings = {run_id: _routing(decision) for (run_id, _), decision in zip(processes, decisions, strict=True)}
    await _require_roles(uow, code, {r.owner_role for r in routings.values() if r.owner_role is not None})
    return routings


async def route_process(
    uow: UnitOfWork,
    *,
    code: str,
    moment: Moment,
    process_run_id: UUID,
    facts: Mapping[str, Any],
    at: date | None = None,
) -> Routing:
    """`route_processes` for one."""
    found = await route_processes(uow, code=code, moment=moment, processes=[(process_run_id, facts)], at=at)
    return found[process_run_id]


def _routing(decision: Decision) -> Routing:
    output = decision.output
    levels = output.get("approval_levels")
    if levels is not None and not 0 <= levels <= 9:
        raise RuleFailed(f"The rule {decision.code} answers {levels} approval levels; there can be 0 to 9.")
    return Routing(
        owner_role=output.get("owner_role") or None,
        approval_levels=levels,
        skip=bool(output.get("skip")),
        reason=output.get("reason") or f"Rule {decision.code}, version {decision.version}",
        rule=decision.code,
        version=decision.version,
        version_id=decision.version_id,
    )


async def _require_roles(uow: UnitOfWork, code: str, roles: set[str]) -> None:
    """A role that does not exist would leave the process with nobody who may do it."""
    if not roles:
        return
    table = uow.table("role")
    known = set((await uow.execute(select(table.c.code).where(table.c.code.in_(roles)))).scalars())
    missing = sorted(roles - known)
    if missing:
        raise RuleFailed(f"The rule {code} answers the role {missing[0]}, which does not exist.")


def routing_facts() -> tuple[str, ...]:
    """The facts that a routing rule can take; see the purpose `process_routing`."""
    return tuple(fact.name for fact in CONTRACTS[Purpose.PROCESS_ROUTING].facts or ())
