"""The ways in which an actor may act on a process: by their own rights first, then by those they stand in with."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

import orjson
from sqlalchemy import DateTime, Uuid, bindparam, text

from app.core.actor import Actor
from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, authorize, decide, is_wide
from app.domain.workflow.acting import Acting, Command
from app.domain.workflow.authority import NO_AUTHORITY, PRINCIPALS, Authority, Principal, principals_from
from app.domain.workflow.decisions import Refusal, check
from app.domain.workflow.duty_rules import check_duties
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.states import Transition

READ_PRINCIPALS = text(PRINCIPALS).bindparams(
    bindparam("actor_id", type_=Uuid), bindparam("now", type_=DateTime(timezone=True))
)
PROCESS = "process_run"


@dataclass(frozen=True, slots=True)
class Way:
    """Acting by one person's rights, and the decision of the policy about that."""

    acting: Acting
    decision: Decision

    def principal(self, row: ProcessRow) -> str | None:
        """The name of the person whose rights they are; None for the actor's own."""
        behalf = self.acting.actor.on_behalf_of
        return next((p.name for p in row.authority.principals if p.id == behalf), None)


async def principals_of(uow: UnitOfWork) -> tuple[Principal, ...]:
    """Whom the actor stands in for now, by name."""
    if uow.actor.is_system or uow.actor.id is None:
        return ()
    found = await uow.scalar(READ_PRINCIPALS, {"actor_id": uow.actor.id, "now": uow.now})
    return principals_from(orjson.loads(found)) if found else ()


async def require_principal(uow: UnitOfWork, action: str) -> None:
    """For somebody whose own roles do not allow the action. Raises: Forbidden, when nobody else's do either."""
    for principal in await principals_of(uow):
        if _decide(uow, standing_in(uow.actor, principal), action) is not None:
            return
    authorize(uow, action, PROCESS)


def standing_in(actor: Actor, principal: Principal) -> Actor:
    """The actor with nothing but the other person's rights."""
    return replace(actor, grants=principal.grants, on_behalf_of=principal.id)


def acting_as(
    uow: UnitOfWork, decision: Decision | None, actor: Actor | None = None, authority: Authority = NO_AUTHORITY
) -> Acting:
    grants = decision.grants if decision is not None else ()
    wide = frozenset(grant.id for grant in grants if is_wide(uow.resources.policy, grant))
    actor = actor or uow.actor
    return Acting(actor, grants, wide, authority.groups, authority.standings, uow.now)


def ways_to_act(uow: UnitOfWork, row: ProcessRow, action: str) -> tuple[Way, ...]:
    """Each way in which the policy allows the action in the process's application."""
    ways: list[Way] = []
    own = _decide(uow, uow.actor, action)
    if own is not None:
        ways.append(Way(acting_as(uow, own, authority=row.authority), own))
    for principal in row.authority.principals_in(row.application):
        actor = standing_in(uow.actor, principal)
        decision = _decide(uow, actor, action)
        if decision is not None:
            authority = replace(row.authority, groups=principal.groups)
            ways.append(Way(acting_as(uow, decision, actor, authority), decision))
    return tuple(ways)


async def open_to(
    uow: UnitOfWork, rule: Transition, row: ProcessRow, command: Command, ways: Sequence[Way]
) -> tuple[list[Way], Refusal | None]:
    """The ways that nothing refuses; and where there is none, the refusal that tells most."""
    refusals: list[Refusal] = []
    passed: list[Way] = []
    for way in ways:
        refusal = check(rule, row, command, way.acting)
        if refusal is None:
            passed.append(way)
        else:
            refusals.append(refusal)
    if passed and row.has_duty_rules:
        allowed = []
        for way in passed:
            refusal = await check_duties(uow, rule.name, row, command, way.acting)
            if refusal is None:
                allowed.append(way)
            else:
                refusals.append(refusal)
        passed = allowed
    if passed or not refusals:
        return passed, None if passed else _no_right(rule, row)
    # Whoever has the right by delegation wants to know what stands against it, not that their own roles lack it.
    return [], next((r for r in refusals if not r.forbidden), refusals[0])


def _no_right(rule: Transition, row: ProcessRow) -> Refusal:
    detail = f"You may not {rule.label.lower()} “{row.label}”: none of your roles, and of those you stand in with, may."
    return Refusal("permission", detail, forbidden=True)


def require_visible(uow: UnitOfWork, row: ProcessRow) -> None:
    """Raises NotFound for a process that the actor may not even read, nor anybody whom they stand in for."""
    if not any(way.acting.sees(row) for way in ways_to_act(uow, row, "read")):
        raise NotFound("There is no such process run.")


@contextmanager
def by_authority(uow: UnitOfWork, acting: Acting) -> Iterator[None]:
    """What is recorded meanwhile says on whose behalf it was done."""
    former = uow.actor
    if not acting.actor.is_system:
        uow.actor = replace(former, on_behalf_of=acting.actor.on_behalf_of)
    try:
        yield
    finally:
        uow.actor = former


@asynccontextmanager
async def reading_for_others(uow: UnitOfWork) -> AsyncIterator[None]:
    """For pages that only read: what the actor sees, and whom they stand in for. One statement."""
    former = uow.actor
    more = [
        grant
        for principal in await principals_of(uow)
        for grant in principal.grants
        if principal.application in (None, grant.application)
    ]
    uow.actor = replace(former, grants=(*former.grants, *more))
    try:
        yield
    finally:
        uow.actor = former


@contextmanager
def seeing_for_others(uow: UnitOfWork, row: ProcessRow) -> Iterator[None]:
    """For reading what is beside the process: with the rights of whom the actor stands in for, there, as well."""
    former = uow.actor
    more = [grant for principal in row.authority.principals_in(row.application) for grant in principal.grants]
    uow.actor = replace(former, grants=(*former.grants, *more))
    try:
        yield
    finally:
        uow.actor = former


def _decide(uow: UnitOfWork, actor: Actor, action: str) -> Decision | None:
    return decide(uow.resources.policy, uow.registry, actor, action, PROCESS)
