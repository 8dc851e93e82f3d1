"""Drafts of a rule, written: saved as they are, faults and all, with what is wrong with them; copied; discarded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select, text, update

from app.core.audit import AuditEntry
from app.core.errors import Conflict, NotFound, StaleVersion
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope
from app.domain.rules.cases import Case, read_cases
from app.domain.rules.definitions import RuleContent, RuleKind, VersionState, read_content
from app.domain.rules.findings import Finding
from app.domain.rules.linter import lint, tidied
from app.domain.rules.purposes import Purpose
from models.base import uuid7

LOCK_RULE = text("SELECT id, code, kind, purpose, application_id FROM rule WHERE id = :id FOR UPDATE")
COPY_TESTS = text(
    """
INSERT INTO rule_test (id, row_version, created_at, created_by, updated_at, updated_by, version_id, rank, label, input,
                       expected)
SELECT uuidv7(), 1, :now, :by, :now, :by, :to, rank, label, input, expected FROM rule_test WHERE version_id = :from
"""
)


@dataclass(frozen=True, slots=True)
class SavedDraft:
    version_id: UUID
    number: int
    row_version: int
    content: RuleContent
    findings: tuple[Finding, ...]


async def save_draft(
    uow: UnitOfWork,
    *,
    rule_id: UUID,
    content: RuleContent | dict[str, Any],
    tests: Sequence[Any] | None = None,
    notes: str | None = None,
    expected_version: int | None = None,
) -> SavedDraft:
    """Keep the draft of a rule, made when there is none. Cells are written in their one way; faults are reported only.

    `tests` None leaves the cases as they are. `expected_version` is the row version of the draft that was edited.

    Raises:
        StaleVersion: the draft was changed, published or discarded since.
        ValidationFailed: the content is no table at all, or a case has no name.
    """
    decision = await require_in_scope(uow, "update", "rule", rule_id)
    read = content if isinstance(content, RuleContent) else read_content(content)
    cases = None if tests is None else read_cases(tests)
    rule = await locked_rule(uow, rule_id)
    kept = tidied(RuleKind(rule.kind), read)
    versions = uow.table("rule_version")
    mine = select(versions).where(versions.c.rule_id == rule_id, versions.c.state == VersionState.DRAFT)
    draft = (await uow.execute(mine)).one_or_none()
    if draft is None:
        if expected_version is not None:
            raise StaleVersion("The draft was published or discarded since you opened it. Load the rule again.")
        version_id, number, row_version = await _insert_draft(uow, rule_id, kept, notes=notes)
    else:
        if expected_version is not None and draft.row_version != expected_version:
            raise StaleVersion(
                "Somebody else changed this draft since you opened it. Load it again and repeat your change.",
                context={"current_version": draft.row_version, "expected_version": expected_version},
            )
        version_id, number, row_version = draft.id, draft.number, draft.row_version + 1
        values: dict[str, Any] = {"content": kept.plain(), "row_version": row_version}
        values |= {"notes": notes} if notes is not None else {}
        stamp = {"updated_at": uow.now, "updated_by": uow.actor.id}
        await uow.execute(update(versions).where(versions.c.id == version_id).values(**values, **stamp))
    if cases is not None:
        await _write_cases(uow, version_id, cases)
    uow.audit(
        AuditEntry(
            command="rule_version.save",
            entity="rule_version",
            record_id=version_id,
            before=None if draft is None else {"digest": RuleContent.model_validate(draft.content).digest()},
            after={"number": number, "digest": kept.digest(), "rows": len(kept.rows)},
            context={"rule": rule.code, **({} if cases is None else {"tests": len(cases)})},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    uow.touch(f"rule:{rule_id}", "entity:rule_version")
    findings = lint(RuleKind(rule.kind), kept, Purpose(rule.purpose))
    return SavedDraft(version_id, number, row_version, kept, tuple(findings))


async def locked_rule(uow: UnitOfWork, rule_id: UUID) -> Any:
    """The rule's row, locked, so that drafts and publications of one rule follow each other. Raises NotFound."""
    row = (await uow.execute(LOCK_RULE, {"id": rule_id})).one_or_none()
    if row is None:
        raise NotFound("There is no such rule.")
    return row


async def _insert_draft(
    uow: UnitOfWork, rule_id: UUID, content: RuleContent, *, notes: str | None = None, based_on: UUID | None = None
) -> tuple[UUID, int, int]:
    versions = uow.table("rule_version")
    latest = select(versions.c.number).where(versions.c.rule_id == rule_id).order_by(versions.c.number.desc()).limit(1)
    number = (await uow.scalar(latest) or 0) + 1
    version_id = uuid7()
    await uow.execute(
        insert(versions).values(
            id=version_id,
            rule_id=rule_id,
            number=number,
            state=VersionState.DRAFT,
            content=content.plain(),
            notes=notes,
            based_on_id=based_on,
            row_version=1,
            created_at=uow.now,
            created_by=uow.actor.id,
            updated_at=uow.now,
            updated_by=uow.actor.id,
        )
    )
    return version_id, number, 1


async def _write_cases(uow: UnitOfWork, version_id: UUID, cases: Sequence[Case]) -> None:
    table = uow.table("rule_test")
    await uow.execute(delete(table).where(table.c.version_id == version_id))
    stamp = {
        "row_version": 1,
        "created_at": uow.now,
        "created_by": uow.actor.id,
        "updated_at": uow.now,
        "updated_by": uow.actor.id,
    }
    rows = [
        {
            "id": uuid7(),
            "row_version": 1,
            "version_id": version_id,
            "rank": rank,
            **case.model_dump(mode="json"),
            **stamp,
        }
        for rank, case in enumerate(cases)
    ]
    if rows:
        await uow.execute(insert(table), rows)


async def new_draft_from(uow: UnitOfWork, *, version_id: UUID) -> UUID:
    """A draft with the content and the cases of a version, numbered after every other. Returns its id.

    Raises: Conflict where the rule has a draft already.
    """
    await require_in_scope(uow, "read", "rule_version", version_id)
    versions = uow.table("rule_version")
    source = (await uow.execute(select(versions).where(versions.c.id == version_id))).one()
    decision = await require_in_scope(uow, "update", "rule", source.rule_id)
    rule = await locked_rule(uow, source.rule_id)
    there = select(versions.c.number).where(
        versions.c.rule_id == source.rule_id, versions.c.state == VersionState.DRAFT
    )
    number = await uow.scalar(there)
    if number is not None:
        raise Conflict(f"Version {number} is a draft of this rule already: publish or discard it first.")
    content = RuleContent.model_validate(source.content)
    draft_id, number, _ = await _insert_draft(uow, source.rule_id, content, based_on=version_id)
    await uow.execute(COPY_TESTS, {"from": version_id, "to": draft_id, "now": uow.now, "by": uow.actor.id})
    uow.audit(
        AuditEntry(
            command="rule_version.copy",
            entity="rule_version",
            record_id=draft_id,
            after={"number": number, "based_on": source.number},
            context={"rule": rule.code},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    uow.touch(f"rule:{source.rule_id}", "entity:rule_version")
    return draft_id


async def discard_draft(uow: UnitOfWork, *, version_id: UUID) -> None:
    """Delete a draft and its cases. Raises Conflict where the version is published."""
    await require_in_scope(uow, "read", "rule_version", version_id)
    versions = uow.table("rule_version")
    rule_id = await uow.scalar(select(versions.c.rule_id).where(versions.c.id == version_id))
    decision = await require_in_scope(uow, "update", "rule", rule_id)
    rule = await locked_rule(uow, rule_id)
    row = (await uow.execute(select(versions).where(versions.c.id == version_id))).one_or_none()
    if row is None:
        raise NotFound("The draft is gone already.")
    if row.state != VersionState.DRAFT:
        raise Conflict(f"Version {row.number} is {row.state} and never changes.")
    await uow.execute(delete(versions).where(versions.c.id == version_id))
    uow.audit(
        AuditEntry(
            command="rule_version.discard",
            entity="rule_version",
            record_id=version_id,
            before={"state": row.state, "number": row.number},
            context={"rule": rule.code},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    uow.touch(f"rule:{rule_id}", "entity:rule_version")
