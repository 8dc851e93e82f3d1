"""Policies on their way into force: a draft that is written, looked through, and published by somebody else.

A published version never changes, and a clock keeps the version that started it. The platform's own policy of process
deadlines takes the same way; of it only the thresholds may differ.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row, bindparam, insert, select, text, update
from sqlalchemy.dialects.postgresql import JSONB

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, Forbidden, NotFound, StaleVersion, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, authorize
from app.domain.sla.compiled import TOPIC
from app.domain.sla.linter import Around, problems_in
from app.domain.sla.store import definition_of, read_policy, read_version
from models.base import uuid7
from models.sla import WARNING, PolicyDef, hours_text

POLICY, VERSION = "sla_policy", "sla_policy_version"
BACKFILL = "sla.backfill"
OPEN_STATES = ("draft", "in_review")
MAX_REASON = 2_000

CALENDARS = text(
    """
SELECT DISTINCT c.code FROM calendar c JOIN calendar_version v ON v.calendar_id = c.id AND v.state = 'published'
"""
)
RETIRE = text(
    """
UPDATE sla_policy_version SET state = 'retired', row_version = row_version + 1, updated_at = :now, updated_by = :by
WHERE policy_id = :policy_id AND state = 'published'
"""
)
FOLLOW_DEFINITION = text(
    """
UPDATE sla_policy SET label = :label, description = :description, measure = :measure, target = :target,
       warn_minutes = :warn_minutes, thresholds = :thresholds,
       calendar_id = coalesce((SELECT id FROM calendar WHERE code = :calendar), calendar_id),
       row_version = row_version + 1, updated_at = :now, updated_by = :by
WHERE id = :id
"""
).bindparams(bindparam("thresholds", type_=JSONB(none_as_null=True)))


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft as it was saved."""

    policy_id: UUID
    version_id: UUID
    number: int
    row_version: int


async def around(uow: UnitOfWork) -> Around:
    """What policies can refer to at this moment."""
    return Around(uow.registry, frozenset((await uow.execute(CALENDARS)).scalars()))


async def create_policy(uow: UnitOfWork, *, entity: str, given: Mapping[str, Any]) -> Draft:
    """Begin a policy with a first draft.

    Raises:
        Forbidden, ValidationFailed: the code is taken, or the definition is no policy.
    """
    decision = authorize(uow, "configure", VERSION)
    definition = read_policy(given)
    if entity not in uow.registry.entities:
        raise ValidationFailed([FieldProblem("entity", "There is no such kind of record; choose another.")])
    policies = uow.table(POLICY)
    if await uow.scalar(select(policies.c.id).where(policies.c.code == definition.code)):
        raise ValidationFailed([FieldProblem("code", "There is a policy with this code already; choose another.")])
    policy_id = uuid7()
    values = {
        "id": policy_id,
        "code": definition.code,
        "label": definition.label,
        "entity": entity,
        "measure": definition.measure,
        "target": definition.targets[0].within,
        "pause_on_hold": False,
        "protected": False,
        "active": True,
        **_stamp(uow),
    }
    await uow.execute(insert(policies).values(values))
    draft = await _insert(uow, policy_id, definition)
    _audit(uow, "create", draft.version_id, decision, after={"policy": definition.code, "entity": entity})
    return draft


async def save_draft(
    uow: UnitOfWork, *, policy_id: UUID, given: Mapping[str, Any], notes: str | None = None,
    expected_version: int | None = None,
) -> Draft:  # fmt: skip
    """Write the policy's draft, in place of the one there is; one that was in review is a draft again.

    Raises:
        NotFound, Forbidden, ValidationFailed: what was entered is no policy.
        StaleVersion: somebody else has saved or published it since it was read.
    """
    decision = authorize(uow, "configure", VERSION)
    policy = await _locked_policy(uow, policy_id)
    definition = read_policy({**given, "code": policy.code, "protected": policy.protected})
    versions = uow.table(VERSION)
    row = (
        await uow.execute(select(versions).where(versions.c.policy_id == policy_id, versions.c.state.in_(OPEN_STATES)))
    ).first()
    if expected_version is not None and (row is None or row.row_version != expected_version):
        raise StaleVersion(
            "Somebody else has saved or published this policy meanwhile. Look at theirs, then save again."
        )
    await _require_own_core(uow, policy, definition)
    if row is None:
        draft = await _insert(uow, policy_id, definition, notes=notes)
    else:
        values = {
            "definition": definition.plain(),
            "notes": notes,
            "state": "draft",
            "submitted_at": None,
            "changed_by_id": None if uow.actor.is_system else uow.actor.id,
            "row_version": row.row_version + 1,
            "updated_at": uow.now,
            "updated_by": uow.actor.id,
        }
        await uow.execute(update(versions).where(versions.c.id == row.id).values(values))
        draft = Draft(policy_id, row.id, row.number, row.row_version + 1)
    _touch(uow, policy_id)
    _audit(uow, "save_draft", draft.version_id, decision, after={"policy": policy.code, "number": draft.number})
    return draft


async def new_draft(uow: UnitOfWork, *, policy_id: UUID) -> Draft:
    """Copy the version in force, or the latest, to a draft. Raises NotFound, Conflict where there is a draft."""
    authorize(uow, "configure", VERSION)
    await _locked_policy(uow, policy_id)
    versions = uow.table(VERSION)
    rows = (
        await uow.execute(select(versions).where(versions.c.policy_id == policy_id).order_by(versions.c.number.desc()))
    ).all()
    if any(row.state in OPEN_STATES for row in rows):
        raise Conflict("The policy has a draft already; publish or discard it first.")
    source = next((row for row in rows if row.state == "published"), rows[0] if rows else None)
    if source is None:
        raise NotFound("The policy has no version yet that could be copied.")
    draft = await _insert(uow, policy_id, definition_of(source))
    _touch(uow, policy_id)
    return draft


async def findings_of(uow: UnitOfWork, definition: PolicyDef, entity: str | None) -> list[FieldProblem]:
    """Why a policy could not be published as it is."""
    return problems_in(definition, uow.registry.entities.get(entity or ""), await around(uow))


async def submit(uow: UnitOfWork, *, version_id: UUID) -> None:
    """Give the draft to somebody else to look through. Raises Conflict, ValidationFailed with what is wrong with it."""
    decision = authorize(uow, "configure", VERSION)
    row = await read_version(uow, version_id, lock=True)
    if row.state != "draft":
        raise Conflict(f"Version {row.number} of {row.label} is {_word(row.state)}; only a draft is given to review.")
    await _require_sound(uow, row)
    await _move(uow, version_id, row, {"state": "in_review", "submitted_at": uow.now})
    _audit(uow, "submit", version_id, decision, before={"state": "draft"}, after={"state": "in_review"})


async def send_back(uow: UnitOfWork, *, version_id: UUID, reason: str) -> None:
    """Return a version under review to its author. Raises Conflict, ValidationFailed without a reason."""
    decision = authorize(uow, "configure", VERSION)
    row = await read_version(uow, version_id, lock=True)
    if row.state != "in_review":
        raise Conflict(f"Version {row.number} of {row.label} is {_word(row.state)}; nothing is being reviewed.")
    why = _reason(reason)
    await _move(uow, version_id, row, {"state": "draft", "submitted_at": None, "notes": why})
    _audit(uow, "send_back", version_id, decision, before={"state": "in_review"}, after={"state": "draft"}, reason=why)


async def publish(uow: UnitOfWork, *, version_id: UUID, notes: str | None = None, backfill: bool = False) -> str:
    """Put a reviewed version in force: new clocks start by it, open ones keep theirs. Returns its digest.

    `backfill`: records that are there already and ought to have a clock get one, by a job.

    Raises:
        Conflict: it is not under review. Forbidden: whoever wrote it does not publish it.
        ValidationFailed: it does not fit its entity any more.
    """
    decision = authorize(uow, "configure", VERSION)
    row = await read_version(uow, version_id, lock=True)
    if row.state != "in_review":
        raise Conflict(f"Version {row.number} of {row.label} is {_word(row.state)}; it has to be reviewed first.")
    mine = row.changed_by_id is not None and row.changed_by_id in (uow.actor.id, uow.actor.on_behalf_of)
    if mine and not uow.actor.is_system:
        raise Forbidden("You wrote this version. Rule: somebody else looks it through and publishes it.")
    definition = await _require_sound(uow, row)
    digest = policy_digest(definition)
    await _put_in_force(uow, row, definition, digest, notes=notes)
    if backfill and not row.protected:
        uow.enqueue(BACKFILL, {"version_id": version_id})
    _audit(
        uow, "publish", version_id, decision, before={"state": "in_review"},
        after={"state": "published", "number": row.number, "digest": digest, "backfill": backfill}, reason=notes,
    )  # fmt: skip
    return digest


async def discard(uow: UnitOfWork, *, version_id: UUID) -> None:
    """Delete a draft; a policy that never was in force goes with it. Raises Conflict for a published version."""
    decision = authorize(uow, "configure", VERSION)
    row = await read_version(uow, version_id, lock=True)
    if row.state not in OPEN_STATES:
        raise Conflict("This version has been published: it never changes and is never deleted.")
    versions, policies = uow.table(VERSION), uow.table(POLICY)
    await uow.execute(versions.delete().where(versions.c.id == version_id))
    _audit(uow, "discard", version_id, decision, before={"policy": row.code, "number": row.number})
    others = await uow.scalar(select(versions.c.id).where(versions.c.policy_id == row.policy_id).limit(1))
    clocks = uow.table("sla_clock")
    used = await uow.scalar(select(clocks.c.id).where(clocks.c.policy_id == row.policy_id).limit(1))
    if others is None and used is None and not row.protected:
        await uow.execute(policies.delete().where(policies.c.id == row.policy_id))
    _touch(uow, row.policy_id)


async def set_active(uow: UnitOfWork, *, policy_id: UUID, active: bool, reason: str) -> None:
    """Switch a policy off or on: while it is off no clock starts; those that run go on. Raises ValidationFailed."""
    decision = authorize(uow, "configure", VERSION)
    policy = await _locked_policy(uow, policy_id)
    why = _reason(reason)
    if policy.active == active:
        return
    policies = uow.table(POLICY)
    stamp = {"row_version": policy.row_version + 1, "updated_at": uow.now, "updated_by": uow.actor.id}
    await uow.execute(update(policies).where(policies.c.id == policy_id).values(active=active, **stamp))
    uow.audit(
        AuditEntry(
            command="sla_policy.switch_on" if active else "sla_policy.switch_off", entity=POLICY, record_id=policy_id,
            before={"active": policy.active}, after={"active": active}, reason=why,
            allowed_by=decision.allowed_by, grant_id=decision.grant_id,
        )
    )  # fmt: skip
    _touch(uow, policy_id)


def policy_digest(definition: PolicyDef) -> str:
    """SHA-256 of the definition: equal definitions have equal digests."""
    return hashlib.sha256(orjson.dumps(definition.plain(), option=orjson.OPT_SORT_KEYS)).hexdigest()


def own_thresholds(definition: PolicyDef) -> tuple[int, list[dict[str, Any]]]:
    """Of the process deadlines' policy: the minutes of its warning, and what it announces beside."""
    warn, more = 0, []
    for each in definition.thresholds:
        if each.code == WARNING and each.before is not None:
            warn = int(each.before / timedelta(minutes=1))
        elif each.percent is not None:
            more.append({"code": each.code, "percent": each.percent})
        else:
            minutes = (each.after or timedelta(0)) - (each.before or timedelta(0))
            more.append({"code": each.code, "minutes": int(minutes / timedelta(minutes=1))})
    return warn, more


async def _put_in_force(
    uow: UnitOfWork, row: Row[Any], definition: PolicyDef, digest: str, *, notes: str | None
) -> None:
    stamp = {"now": uow.now, "by": uow.actor.id}
    await uow.execute(RETIRE, {"policy_id": row.policy_id, **stamp})
    by = None if uow.actor.is_system else uow.actor.id
    values = {"state": "published", "digest": digest, "published_at": uow.now, "published_by_id": by}
    await _move(uow, row.id, row, values if notes is None else {**values, "notes": notes})
    warn, more = own_thresholds(definition)
    await uow.execute(
        FOLLOW_DEFINITION,
        {
            "id": row.policy_id, "label": definition.label, "description": definition.description or None,
            "measure": definition.measure, "target": definition.targets[0].within,
            "warn_minutes": warn, "thresholds": more if definition.protected and more else None,
            "calendar": definition.calendar, **stamp,
        },
    )  # fmt: skip


async def _require_sound(uow: UnitOfWork, row: Row[Any]) -> PolicyDef:
    definition = read_policy(row.definition)
    problems = await findings_of(uow, definition, row.entity)
    if problems:
        raise ValidationFailed(problems)
    return definition


async def _require_own_core(uow: UnitOfWork, policy: Row[Any], definition: PolicyDef) -> None:
    """Of the platform's own policy only the thresholds, the name and the description may change."""
    if not policy.protected:
        return
    versions = uow.table(VERSION)
    published = await uow.scalar(
        select(versions.c.definition).where(versions.c.policy_id == policy.id, versions.c.state == "published")
    )
    free = {"thresholds", "label", "description"}
    before = {k: v for k, v in PolicyDef.model_validate(published).plain().items() if k not in free}
    after = {k: v for k, v in definition.plain().items() if k not in free}
    if before != after:
        raise Forbidden("This is the platform's own policy: what it announces may be changed, what it measures not.")
    if any(each.code == WARNING and each.before is None for each in definition.thresholds):
        said = f"The warning of a process is a time before it is due, such as {hours_text(timedelta(minutes=30))}."
        raise ValidationFailed([FieldProblem("thresholds", said)])


async def _locked_policy(uow: UnitOfWork, policy_id: UUID) -> Row[Any]:
    policies = uow.table(POLICY)
    row = (await uow.execute(select(policies).where(policies.c.id == policy_id).with_for_update())).first()
    if row is None:
        raise NotFound("There is no such SLA policy.")
    return row


async def _insert(uow: UnitOfWork, policy_id: UUID, definition: PolicyDef, *, notes: str | None = None) -> Draft:
    versions = uow.table(VERSION)
    numbers = (await uow.execute(select(versions.c.number).where(versions.c.policy_id == policy_id))).scalars().all()
    number, version_id = max(numbers, default=0) + 1, uuid7()
    values = {
        "id": version_id, "policy_id": policy_id, "number": number, "state": "draft",
        "definition": definition.plain(), "notes": notes,
        "changed_by_id": None if uow.actor.is_system else uow.actor.id, **_stamp(uow),
    }  # fmt: skip
    await uow.execute(insert(versions).values(values))
    _touch(uow, policy_id)
    return Draft(policy_id, version_id, number, 1)


async def _move(uow: UnitOfWork, version_id: UUID, row: Row[Any], values: Mapping[str, Any]) -> None:
    versions = uow.table(VERSION)
    stamp = {"row_version": row.row_version + 1, "updated_at": uow.now, "updated_by": uow.actor.id}
    await uow.execute(update(versions).where(versions.c.id == version_id).values(**values, **stamp))
    _touch(uow, row.policy_id)


def _touch(uow: UnitOfWork, policy_id: UUID) -> None:
    uow.touch(TOPIC, "entity:sla_policy", "entity:sla_policy_version", f"sla_policy:{policy_id}")


def _audit(uow: UnitOfWork, command: str, version_id: UUID, decision: Decision, **more: Any) -> None:
    uow.audit(
        AuditEntry(
            command=f"{VERSION}.{command}", entity=VERSION, record_id=version_id,
            allowed_by=decision.allowed_by, grant_id=decision.grant_id, **more,
        )
    )  # fmt: skip


def _stamp(uow: UnitOfWork) -> dict[str, Any]:
    by = uow.actor.id
    return {"row_version": 1, "created_at": uow.now, "created_by": by, "updated_at": uow.now, "updated_by": by}


def _reason(given: str) -> str:
    why = given.strip()
    if not 1 <= len(why) <= MAX_REASON:
        raise ValidationFailed([FieldProblem("reason", f"Say why, in at most {MAX_REASON:,} letters.")])
    return why


def _word(state: str) -> str:
    return state.replace("_", " ")
