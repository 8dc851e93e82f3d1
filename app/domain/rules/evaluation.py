"""Asking a rule: which version is in force on a day, its decision, and the decision kept with its trace.

Versions that are in force are kept in memory by rule (`RuleBook`), so that asking costs no statement. Publishing drops
them in its own process at once and in every other by the live topic `rules`; a transaction that has published itself
reads its own rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID
from weakref import WeakSet

from sqlalchemy import insert, text

from app.core.audit import plain_value
from app.core.errors import Conflict, NotFound
from app.core.events import RecordDeleted, RecordUpdated
from app.core.uow import UnitOfWork
from app.domain.rules.compiled import CompiledRule, Outcome, RowTrace, compile_rule
from app.domain.rules.definitions import RuleContent, RuleKind
from models.base import uuid7

RULES = "rules"  # the name of the service, and the live topic
READ_RULE = text(
    """
SELECT r.id, r.kind, r.active, v.id AS version_id, v.number, v.valid_from, v.digest, v.content
FROM rule r LEFT JOIN rule_version v ON v.rule_id = r.id AND v.state = 'published'
WHERE r.code = :code ORDER BY v.valid_from DESC
"""
)


class NoRuleInForce(Conflict):
    """There is no such rule, it is inactive, or no version of it is in force on the day."""

    code = "no_rule_in_force"
    title = "No rule is in force"


@dataclass(frozen=True, slots=True)
class VersionInForce:
    version_id: UUID
    number: int
    valid_from: date
    compiled: CompiledRule


@dataclass(frozen=True, slots=True)
class PublishedRule:
    """A rule with its published versions, the latest first."""

    id: UUID
    code: str
    active: bool
    versions: tuple[VersionInForce, ...]

    def on(self, day: date) -> VersionInForce:
        """The version in force on a day. Raises NoRuleInForce."""
        if not self.active:
            raise NoRuleInForce(f"The rule {self.code} is inactive. Make it active, or ask another.")
        for version in self.versions:
            if version.valid_from <= day:
                return version
        raise NoRuleInForce(f"The rule {self.code} has no version in force on {day}. Publish one.")


@dataclass
class RuleBook:
    """Published rules by code. `generation` tells a reading that began before something was dropped from one after."""

    rules: dict[str, PublishedRule] = field(default_factory=dict)
    compiled: dict[tuple[UUID, str], CompiledRule] = field(default_factory=dict)
    validators: Mapping[str, tuple[str, ...]] | None = None  # codes by entity; None: not read yet
    generation: int = 0
    writers: "WeakSet[UnitOfWork]" = field(default_factory=WeakSet)

    def drop(self, code: str | None = None) -> None:
        """Forget a rule, or all of them; compiled versions stay, for they never change."""
        self.generation += 1
        self.validators = None
        if code is None:
            self.rules.clear()
        else:
            self.rules.pop(code, None)

    async def read(self, uow: UnitOfWork, code: str) -> PublishedRule:
        """The rule, from memory or with one statement. Raises NotFound."""
        own = uow in self.writers
        if code in self.rules and not own:
            return self.rules[code]
        generation = self.generation
        rows = (await uow.execute(READ_RULE, {"code": code})).all()
        if not rows:
            raise NotFound(f"There is no rule {code}.")
        versions = tuple(self._version(RuleKind(row.kind), row) for row in rows if row.version_id is not None)
        rule = PublishedRule(rows[0].id, code, rows[0].active, versions)
        if not own and generation == self.generation:
            self.rules[code] = rule
        return rule

    def _version(self, kind: RuleKind, row: Any) -> VersionInForce:
        key = (row.version_id, row.digest)
        if key not in self.compiled:
            self.compiled[key] = compile_rule(kind, RuleContent.model_validate(row.content))
        return VersionInForce(row.version_id, row.number, row.valid_from, self.compiled[key])


@dataclass(frozen=True, slots=True)
class KeepFor:
    """The record that the decision is about, and what it was made for: `("process_run", id, "routing")`."""

    entity: str
    record_id: UUID
    purpose: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule decided. `answers`: one mapping a row that fitted; `matched_rows`: their ids."""

    rule_id: UUID
    code: str
    version_id: UUID
    version: int
    input: Mapping[str, Any]
    outcome: Outcome
    output_names: tuple[str, ...]

    @property
    def answers(self) -> tuple[Mapping[str, Any], ...]:
        return self.outcome.answers

    @property
    def output(self) -> Mapping[str, Any]:
        """The first answer; where no row fitted every answer is None."""
        return self.outcome.answers[0] if self.outcome.answers else dict.fromkeys(self.output_names)

    @property
    def matched(self) -> bool:
        return bool(self.outcome.matched)

    @property
    def matched_rows(self) -> tuple[str, ...]:
        return self.outcome.matched

    @property
    def trace(self) -> tuple[RowTrace, ...]:
        return self.outcome.rows


async def evaluate(
    uow: UnitOfWork,
    *,
    code: str,
    input: Mapping[str, Any],
    keep_for: KeepFor | tuple[str, UUID, str] | None = None,
    at: date | None = None,
) -> Decision:
    """Ask a rule, as it was in force on the day `at` (today). `keep_for` keeps the decision with its trace.

    Whoever asks has authorised what is decided about; a rule itself is not a secret of anybody.

    Raises: NotFound, NoRuleInForce, ValidationFailed for facts that do not fit, RuleFailed.
    """
    keep = [keep_for] if keep_for is not None else None
    return (await evaluate_many(uow, code=code, inputs=[input], keep_for=keep, at=at))[0]


async def evaluate_many(
    uow: UnitOfWork,
    *,
    code: str,
    inputs: Sequence[Mapping[str, Any]],
    keep_for: Sequence[KeepFor | tuple[str, UUID, str]] | None = None,
    at: date | None = None,
) -> list[Decision]:
    """Ask a rule about many inputs, in their order; the decisions are kept with one statement. Raises like `evaluate`.

    `keep_for` is as long as `inputs`.
    """
    rule = await book_of(uow).read(uow, code)
    version = rule.on(at or uow.business_date)
    names = tuple(output.name for output in version.compiled.content.outputs)
    decisions = [
        Decision(rule.id, code, version.version_id, version.number, given, version.compiled.evaluate(given), names)
        for given in inputs
    ]
    if keep_for is not None:
        await keep(uow, list(zip(decisions, keep_for, strict=True)))
    return decisions


async def facts_of(uow: UnitOfWork, *, code: str, at: date | None = None) -> tuple[str, ...]:
    """The names of the facts that the version in force takes. Raises NotFound, NoRuleInForce."""
    rule = await book_of(uow).read(uow, code)
    return tuple(rule.on(at or uow.business_date).compiled.fields)


async def keep(uow: UnitOfWork, decisions: Sequence[tuple[Decision, KeepFor | tuple[str, UUID, str]]]) -> None:
    """Keep decisions with what they are about; one statement for all of them."""
    rows = []
    for decision, kept in decisions:
        about = kept if isinstance(kept, KeepFor) else KeepFor(*kept)
        rows.append(
            {
                "id": uuid7(),
                "row_version": 1,
                "at": uow.now,
                "rule_id": decision.rule_id,
                "version_id": decision.version_id,
                "record_entity": about.entity,
                "record_id": about.record_id,
                "purpose": about.purpose,
                "input": plain_value(decision.input),
                "output": plain_value(list(decision.answers)),
                "trace": decision.outcome.trace(),
                "actor_id": None if uow.actor.is_system else uow.actor.id,
                "created_at": uow.now,
                "created_by": uow.actor.id,
                "updated_at": uow.now,
                "updated_by": uow.actor.id,
            }
        )
    if rows:
        await uow.execute(insert(uow.table("rule_evaluation")), rows)


def book_of(uow: UnitOfWork) -> RuleBook:
    """The process's rule book; a unit of work of a runtime without one reads for itself."""
    book = uow.resources.services.get(RULES)
    return book if isinstance(book, RuleBook) else RuleBook()


async def forget_changed_rule(uow: UnitOfWork, event: RecordUpdated | RecordDeleted) -> None:
    """A rule was changed through the general forms: it may be inactive now."""
    if event.entity == "rule":
        book = book_of(uow)
        book.writers.add(uow)
        book.drop()
        uow.touch(RULES)


def forget_rule(uow: UnitOfWork, code: str) -> None:
    """Called by what changes which version is in force: from here on this transaction reads its own rows."""
    book = book_of(uow)
    book.writers.add(uow)
    book.drop(code)
