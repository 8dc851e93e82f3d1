"""Why somebody may or may not do something, by which line and which grant; and who else may.

The answers come from the same decision and the same conditions that refuse and filter; nothing is decided anew here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, true

from app.core.actor import Actor, ActorKind, Grant
from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.access.decisions import (
    WHOLE_ONLY,
    Decision,
    authorize,
    decide,
    governing,
    is_wide,
    refusal,
)
from app.domain.access.fields import field_access
from app.domain.access.grants import load_grants
from app.domain.access.policy import AccessPolicy
from app.domain.access.policy_files import FieldMode, PolicyLine
from app.domain.access.scope import condition_of, record_in_scope, viewer_of
from models.schema import EntityDef

CHUNK = 100  # conditions asked in one statement

ACTIVE_GRANTS = text("""
SELECT u.id AS user_id, u.name, u.email, g.id, r.code AS role, a.code AS application, g.node_id, n.path::text AS path
FROM role_grant g
JOIN app_user u ON u.id = g.user_id AND u.active AND u.deleted_at IS NULL
JOIN role r ON r.id = g.role_id
JOIN application a ON a.id = g.application_id AND a.active
LEFT JOIN hierarchy_node n ON n.id = g.node_id
WHERE g.revoked_at IS NULL AND g.valid_from <= :now AND (g.valid_until IS NULL OR g.valid_until > :now)
ORDER BY u.name, u.id, g.id
""")


@dataclass(frozen=True, slots=True)
class GrantVerdict:
    """What one grant says. `covers_record` is None where no record was asked about, or the line does not allow."""

    grant: Grant
    line: PolicyLine | None
    counts: bool
    covers_record: bool | None
    said: str


@dataclass(frozen=True, slots=True)
class FieldVerdict:
    name: str
    label: str
    group: str
    mode: FieldMode | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer, and the chain of reasons that led to it."""

    allowed: bool
    verdict: str
    user_id: UUID
    user_name: str
    action: str
    entity: str
    record_id: UUID | None
    application: str | None
    node: str | None
    allowed_by: str | None
    grants: tuple[GrantVerdict, ...]
    fields: tuple[FieldVerdict, ...]


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody who may, with the grants by which they may."""

    user_id: UUID
    name: str
    email: str
    grants: tuple[Grant, ...]
    allowed_by: str


async def explain(
    uow: UnitOfWork, *, user_id: UUID, action: str, entity: str, record_id: UUID | None = None
) -> Explanation:
    """Why the user may or may not do this, to the record or in general.

    Raises:
        Forbidden: it is about somebody else, and the actor may not ask that.
        NotFound: there is no such user; or, when asking about somebody else, no such record that the actor may see.
    """
    subject = await _subject(uow, user_id)
    asker_sees = record_id is None or await record_in_scope(uow, "read", entity, record_id)
    if not asker_sees and user_id != uow.actor.id:
        raise NotFound(f"There is no such {_label(uow, entity)}, or you may not see it.")
    policy: AccessPolicy = uow.resources.policy
    definition = uow.registry.entities.get(entity)
    decision = decide(policy, uow.registry, subject, action, entity)
    covering = await _covering(
        uow, subject=subject, action=action, entity=entity, record_id=record_id, decision=decision
    )
    grants = tuple(
        _consider(uow, grant, action=action, entity=entity, decision=decision, covering=covering)
        for grant in subject.grants
    )
    allowed = decision is not None and (record_id is None or any(covering.values()))
    if decision is None:
        verdict = refusal(policy, uow.registry, subject, action, entity).detail
    elif not allowed:
        verdict = (
            f"No grant that allows it reaches this {_label(uow, entity)}: it lies in another part, or does not exist."
        )
    else:
        verdict = f"Allowed: {decision.allowed_by}"
    return Explanation(
        allowed=allowed,
        verdict=verdict.replace("You may not", f"{subject.name} may not") if user_id != uow.actor.id else verdict,
        user_id=user_id,
        user_name=subject.name,
        action=action,
        entity=entity,
        record_id=record_id,
        application=definition.application if definition is not None else None,
        node=await _node_of(uow, definition, record_id) if asker_sees and record_id is not None else None,
        allowed_by=decision.allowed_by if decision is not None and allowed else None,
        grants=grants,
        fields=_fields(uow, subject, definition) if definition is not None else (),
    )


async def who_can(uow: UnitOfWork, action: str, entity: str, record_id: UUID | None = None) -> tuple[Holder, ...]:
    """Everybody who may do this to the record (or to some record), by name.

    Raises:
        Forbidden: the actor may not ask that.
        NotFound: no such record that the actor may see.
    """
    authorize(uow, "read", "explain")
    if record_id is not None and not await record_in_scope(uow, "read", entity, record_id):
        raise NotFound(f"There is no such {_label(uow, entity)}, or you may not see it.")
    policy: AccessPolicy = uow.resources.policy
    candidates: list[tuple[Actor, Decision]] = []
    for actor in await _everybody(uow):
        decision = decide(policy, uow.registry, actor, action, entity)
        if decision is not None:
            candidates.append((actor, decision))
    covered = await _covered_of_all(uow, candidates, action, entity, record_id)
    holders = []
    for actor, decision in candidates:
        grants = tuple(grant for grant in decision.grants if record_id is None or (actor.id, grant.id) in covered)
        if grants and actor.id is not None:
            holders.append(Holder(actor.id, actor.name, actor.email, grants, decision.allowed_by))
    return tuple(holders)


async def _subject(uow: UnitOfWork, user_id: UUID) -> Actor:
    """The person asked about, as the actor they would be now."""
    if user_id == uow.actor.id:
        return uow.actor
    authorize(uow, "read", "explain")
    users = uow.table("user")
    found = select(users.c.name, users.c.email, users.c.active, users.c.account_kind)
    row = (await uow.execute(found.where(users.c.id == user_id, users.c.deleted_at.is_(None)))).first()
    if row is None:
        raise NotFound("There is no such user.")
    kind = ActorKind.SERVICE if row.account_kind == "service" else ActorKind.USER
    grants = await load_grants(uow, user_id, uow.now) if row.active else ()
    return Actor(user_id, row.name, kind, row.email, grants)


async def _covering(
    uow: UnitOfWork,
    *,
    subject: Actor,
    action: str,
    entity: str,
    record_id: UUID | None,
    decision: Decision | None,
) -> dict[UUID, bool]:
    """Grant -> whether it reaches the record, all asked in one statement."""
    if record_id is None or decision is None:
        return {}
    if decision.is_system:
        return {subject.id: True} if subject.id else {}
    asked = [(subject, grant) for grant in decision.grants]
    answers = await _ask(uow, asked, action, entity, record_id)
    return {grant.id: answer for (_, grant), answer in zip(asked, answers, strict=True)}


async def _covered_of_all(
    uow: UnitOfWork,
    candidates: Sequence[tuple[Actor, Decision]],
    action: str,
    entity: str,
    record_id: UUID | None,
) -> set[tuple[UUID | None, UUID]]:
    """Which grants of whom reach the record. People whose grants are alike are asked for together."""
    if record_id is None:
        return set()
    policy: AccessPolicy = uow.resources.policy
    ruling, ruling_action = governing(policy, entity, action)
    alike: dict[tuple[Any, ...], list[tuple[Actor, Grant]]] = {}
    for actor, decision in candidates:
        for grant in decision.grants:
            personal = policy.row_conditions(grant.role, grant.application, ruling, ruling_action)
            key = (
                grant.role,
                grant.application,
                grant.node_id,
                actor.id if any(r.condition for r in personal) else None,
            )
            alike.setdefault(key, []).append((actor, grant))
    groups = list(alike.values())
    answers = await _ask(uow, [group[0] for group in groups], action, entity, record_id)
    return {
        (actor.id, grant.id) for group, covers in zip(groups, answers, strict=True) if covers for actor, grant in group
    }


async def _ask(
    uow: UnitOfWork, asked: Sequence[tuple[Actor, Grant]], action: str, entity: str, record_id: UUID
) -> list[bool]:
    """Whether each grant reaches the record; the conditions are those of `scope`."""
    definition, table = uow.registry.entity(entity), uow.table(entity)
    answers: list[bool] = []
    for start in range(0, len(asked), CHUNK):
        part = asked[start : start + CHUNK]
        columns = []
        for number, (actor, grant) in enumerate(part):
            viewer = viewer_of(uow, actor)
            condition = condition_of(viewer, action, definition, Decision((grant,), ""), table)
            columns.append((true() if condition is None else condition).label(f"c{number}"))
        row = (await uow.execute(select(*columns).where(table.c.id == record_id))).first()
        answers += [False] * len(part) if row is None else [bool(value) for value in row]
    return answers


def _consider(
    uow: UnitOfWork,
    grant: Grant,
    *,
    action: str,
    entity: str,
    decision: Decision | None,
    covering: dict[UUID, bool],
) -> GrantVerdict:
    """What one grant contributed, in words."""
    policy: AccessPolicy = uow.resources.policy
    ruling, ruling_action = governing(policy, entity, action)
    definition = uow.registry.entities.get(ruling)
    line = policy.verdict(frozenset((grant.role,)), grant.application, ruling, ruling_action)
    counts = decision is not None and grant in decision.grants
    covers = covering.get(grant.id) if counts else None
    if not _in_play(policy, grant, ruling, definition):
        said = f"does not count: it is a grant in {grant.application}"
        if definition is not None and definition.application:
            said += f", and {definition.label_plural.lower()} belong to {definition.application}"
        else:
            said += " below a node, and this has no place in a hierarchy"
        return GrantVerdict(grant, None, counts=False, covers_record=None, said=said)
    if line is None:
        said = f"no line of the policy allows {grant.role} to {action} {ruling}"
    elif line.denies:
        said = f"denied, whatever else allows it: {line}"
    elif not counts:
        said = "allowed by itself, but another grant is denied"
    elif covers is False:
        said = "allowed, but the record is outside: in another application, below another node, or not the person's own"
    else:
        said = str(line)
    return GrantVerdict(grant, line, counts=counts, covers_record=covers, said=said)


def _in_play(policy: AccessPolicy, grant: Grant, entity: str, definition: EntityDef | None) -> bool:
    if definition is not None and definition.application:
        return grant.application == definition.application or is_wide(policy, grant)
    return entity not in WHOLE_ONLY or grant.node_id is None


def _fields(uow: UnitOfWork, subject: Actor, definition: EntityDef) -> tuple[FieldVerdict, ...]:
    """The fields whose access differs from that of the record."""
    policy: AccessPolicy = uow.resources.policy
    verdicts = []
    for field in definition.fields:
        group = policy.access_group(definition.name, field.name, field.access_group)
        if group not in ("standard", "internal"):
            mode = field_access(policy, subject, definition, field)
            verdicts.append(FieldVerdict(field.name, field.label, group, mode))
    return tuple(verdicts)


async def _node_of(uow: UnitOfWork, definition: EntityDef | None, record_id: UUID) -> str | None:
    """The label of the node at which the record stands, by which its scope is judged."""
    if definition is None or definition.scope_field is None:
        return None
    current: Any = record_id
    steps = [] if definition.scope_field == "id" else definition.scope_field.split(".")
    for step in steps:
        field = definition.field(step)
        table = uow.table(definition.name).alias()
        current = select(table.c[field.column]).where(table.c.id == current).scalar_subquery()
        definition = uow.registry.entity(field.target or "")
    nodes = uow.table("hierarchy_node")
    label: str | None = await uow.scalar(select(nodes.c.label).where(nodes.c.id == current))
    return label


async def _everybody(uow: UnitOfWork) -> Iterable[Actor]:
    """Every active person with a grant in force, in one statement."""
    people: dict[UUID, tuple[str, str, list[Grant]]] = {}
    for row in await uow.execute(ACTIVE_GRANTS, {"now": uow.now}):
        _, _, grants = people.setdefault(row.user_id, (row.name, row.email, []))
        grants.append(Grant(row.id, row.role, row.application, row.node_id, row.path))
    return [Actor(id_, name, ActorKind.USER, email, tuple(grants)) for id_, (name, email, grants) in people.items()]


def _label(uow: UnitOfWork, entity: str) -> str:
    definition = uow.registry.entities.get(entity)
    return (definition.label if definition is not None else entity.replace("_", " ")).lower()
