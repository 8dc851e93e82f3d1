"""Publishing a version of a rule: linted, tested, in force from a day, and from then on never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, NotFound, StaleVersion, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope
from app.domain.rules.cases import Case, CaseResult, run_cases
from app.domain.rules.compiled import compile_rule
from app.domain.rules.definitions import RuleContent, RuleKind, VersionState
from app.domain.rules.drafts import locked_rule
from app.domain.rules.evaluation import forget_rule
from app.domain.rules.findings import Finding, errors_of
from app.domain.rules.linter import lint
from app.domain.rules.purposes import Purpose
from app.domain.rules.validation import unknown_facts

READ_VERSION = text(
    """
SELECT v.id, v.rule_id, v.number, v.state, v.row_version, v.content, r.code, r.kind, r.purpose, r.entity
FROM rule_version v JOIN rule r ON r.id = v.rule_id WHERE v.id = :id
"""
)
READ_PUBLISHED = text(
    "SELECT number, valid_from FROM rule_version WHERE rule_id = :rule_id AND state = 'published' ORDER BY valid_from"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What stands against the publication of a version: nothing, when both are without errors and failures."""

    findings: tuple[Finding, ...]
    results: tuple[CaseResult, ...]

    @property
    def failed(self) -> tuple[CaseResult, ...]:
        return tuple(result for result in self.results if not result.passed)

    @property
    def ready(self) -> bool:
        return bool(self.results) and not self.failed and not errors_of(list(self.findings))


def check(kind: RuleKind, content: RuleContent, purpose: Purpose, cases: Sequence[Case]) -> Checked:
    """Lint a content and run its cases; they do not run while there are errors, for there is nothing to run."""
    findings = lint(kind, content, purpose)
    results = [] if errors_of(findings) else run_cases(compile_rule(kind, content), cases)
    return Checked(tuple(findings), tuple(results))


async def cases_of(uow: UnitOfWork, version_id: UUID) -> list[Case]:
    """The cases of a version, in their order."""
    table = uow.table("rule_test")
    rows = await uow.execute(
        select(table.c.label, table.c.input, table.c.expected)
        .where(table.c.version_id == version_id)
        .order_by(table.c.rank)
    )
    return [Case(label=row.label, input=row.input, expected=row.expected) for row in rows]


async def run_tests(uow: UnitOfWork, *, version_id: UUID) -> Checked:
    """Lint a version and run its cases."""
    await require_in_scope(uow, "read", "rule_version", version_id)
    row = (await uow.execute(READ_VERSION, {"id": version_id})).one()
    content = RuleContent.model_validate(row.content)
    return check(RuleKind(row.kind), content, Purpose(row.purpose), await cases_of(uow, version_id))


async def publish(
    uow: UnitOfWork,
    *,
    version_id: UUID,
    valid_from: date | None = None,
    notes: str | None = None,
    expected_version: int | None = None,
) -> str:
    """Put a draft in force from a day on, today unless said. Returns the digest.

    A version that was to be in force from the same day retires; every other stays, and decides about its own days.

    Raises:
        Conflict: it is no draft, or the day is past and days of it have been decided by another version.
        ValidationFailed: an error of the linter, a case that fails, or no case at all.
        StaleVersion: the draft was changed after the review.
    """
    decision = await require_in_scope(uow, "transition:publish", "rule_version", version_id)
    first = (await uow.execute(READ_VERSION, {"id": version_id})).one()
    await locked_rule(uow, first.rule_id)
    row = (await uow.execute(READ_VERSION, {"id": version_id})).one_or_none()
    if row is None:
        raise NotFound("The draft was discarded meanwhile.")
    if row.state != VersionState.DRAFT:
        raise Conflict(f"Version {row.number} of {row.code} is {row.state}; only a draft can be published.")
    if expected_version is not None and row.row_version != expected_version:
        raise StaleVersion("The draft was changed since you looked through it: load it again and review the change.")
    content = RuleContent.model_validate(row.content)
    checked = check(RuleKind(row.kind), content, Purpose(row.purpose), await cases_of(uow, version_id))
    refuse_unready(checked)
    _refuse_unknown_facts(uow, row.entity, content)
    published = (await uow.execute(READ_PUBLISHED, {"rule_id": row.rule_id})).all()
    day = valid_from or uow.now.date()
    if published and day < uow.now.date():
        raise Conflict(
            f"Version {published[-1].number} has decided since {published[0].valid_from}: choose today or a later day."
        )
    versions = uow.table("rule_version")
    by, user_id = uow.actor.id, None if uow.actor.is_system else uow.actor.id
    stamp = {"updated_at": uow.now, "updated_by": by, "row_version": versions.c.row_version + 1}
    same_day = (versions.c.rule_id == row.rule_id, versions.c.state == "published", versions.c.valid_from == day)
    await uow.execute(update(versions).where(*same_day).values(state=VersionState.RETIRED, **stamp))
    digest = content.digest()
    values: dict[str, Any] = {
        "state": VersionState.PUBLISHED,
        "valid_from": day,
        "digest": digest,
        "published_at": uow.now,
        "published_by_id": user_id,
    }
    values |= {"notes": notes} if notes else {}
    await uow.execute(update(versions).where(versions.c.id == version_id).values(**values, **stamp))
    forget_rule(uow, row.code)
    uow.touch("rules", f"rule:{row.rule_id}", "entity:rule_version")
    uow.audit(
        AuditEntry(
            command="rule_version.publish",
            entity="rule_version",
            record_id=version_id,
            before={"state": "draft"},
            after={"state": "published", "number": row.number, "valid_from": day, "digest": digest},
            reason=notes,
            context={"rule": row.code, "tests": len(checked.results), "warnings": len(checked.findings)},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    return digest


def refuse_unready(checked: Checked) -> None:
    """Raises ValidationFailed with every error and every failing case."""
    problems = [
        FieldProblem(finding.place, f"{finding.message} {finding.satisfy}".strip(), finding.rule)
        for finding in errors_of(list(checked.findings))
    ]
    problems += [FieldProblem(f"test {r.label}", r.problem, "test_failed") for r in checked.failed]
    if not problems and not checked.results:
        text_ = "The rule has no test case. Add at least one that says what it must answer."
        problems = [FieldProblem("tests", text_, "no_tests")]
    if problems:
        raise ValidationFailed(problems)


def _refuse_unknown_facts(uow: UnitOfWork, entity: str | None, content: RuleContent) -> None:
    """A rule about records of an entity is given their fields and nothing else."""
    if entity is None:
        return
    if entity not in uow.registry.entities:
        raise ValidationFailed([FieldProblem("entity", f"There is no entity {entity}; make the rule anew.", "unknown")])
    definition = uow.registry.entity(entity)
    unknown = unknown_facts(definition, [field.name for field in content.inputs])
    if unknown:
        said = f"{definition.label_plural} have no field {', '.join(unknown)}. Name the facts as the fields are named."
        raise ValidationFailed([FieldProblem("rule", said, "unknown_fact")])


async def retire(uow: UnitOfWork, *, version_id: UUID, reason: str) -> None:
    """Take a published version that is not in force yet out again.

    Raises: Conflict for one that has begun to decide: publish another, or make the rule inactive.
    """
    decision = await require_in_scope(uow, "transition:publish", "rule_version", version_id)
    first = (await uow.execute(READ_VERSION, {"id": version_id})).one()
    await locked_rule(uow, first.rule_id)
    versions = uow.table("rule_version")
    row = (await uow.execute(select(versions).where(versions.c.id == version_id))).one()
    if row.state != VersionState.PUBLISHED:
        raise Conflict(f"Version {row.number} is {row.state}; only a published one can be taken out.")
    if row.valid_from <= uow.now.date():
        raise Conflict(f"Version {row.number} is in force since {row.valid_from}: publish another in its place.")
    stamp = {"updated_at": uow.now, "updated_by": uow.actor.id, "row_version": row.row_version + 1}
    await uow.execute(update(versions).where(versions.c.id == version_id).values(state=VersionState.RETIRED, **stamp))
    forget_rule(uow, first.code)
    uow.touch("rules", f"rule:{row.rule_id}", "entity:rule_version")
    uow.audit(
        AuditEntry(
            command="rule_version.retire",
            entity="rule_version",
            record_id=version_id,
            before={"state": "published"},
            after={"state": "retired"},
            reason=reason,
            context={"rule": first.code},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
