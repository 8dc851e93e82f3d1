"""Rules of the purpose “Validation”: asked about each record of their entity before it is written, however it comes.

Forms, the API, imports, effects of steps and the platform itself all write through `app.domain.entities.service`, which
asks here (port `app.domain.entities.record_checks`). Where no rule is in force for an entity it costs no statement.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.errors import FieldProblem, StepsError, ValidationFailed
from app.core.events import RecordCreated
from app.core.uow import UnitOfWork
from app.domain.rules.evaluation import NoRuleInForce, PublishedRule, RuleBook, VersionInForce, book_of
from app.domain.rules.record_rules import as_fact
from models.schema import EntityDef

READ_VALIDATORS = text(
    """
SELECT r.entity, array_agg(r.code ORDER BY r.code) AS codes FROM rule r
WHERE r.purpose = 'field_validation' AND r.active AND r.entity IS NOT NULL
  AND EXISTS (SELECT FROM rule_version v WHERE v.rule_id = r.id AND v.state = 'published')
GROUP BY r.entity
"""
)


async def check_by_rules(
    uow: UnitOfWork, entity: EntityDef, records: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[FieldProblem]:
    """What the rules in force for the entity find wrong, at the fields that they name.

    A rule that cannot answer refuses the record and says so: a check that does not work must not let anything pass.
    """
    problems: list[FieldProblem] = []
    for rule, version in await _in_force(uow, entity.name):
        for prefix, record in records:
            problems += _asked(rule, version, entity, prefix, record)
    return problems


async def load_validators(engine: AsyncEngine, book: RuleBook) -> None:
    """Read which entities have such rules when a process starts, so that its first record costs no more than others."""
    async with engine.connect() as connection:
        book.validators = _by_entity((await connection.execute(READ_VALIDATORS)).all())


async def _in_force(uow: UnitOfWork, entity: str) -> list[tuple[PublishedRule, VersionInForce]]:
    book = book_of(uow)
    codes = (await _validators(uow, book)).get(entity, ())
    found = []
    for code in codes:
        rule = await book.read(uow, code)
        try:
            found.append((rule, rule.on(uow.business_date)))
        except NoRuleInForce:
            continue  # its first version begins later
    return found


async def _validators(uow: UnitOfWork, book: RuleBook) -> Mapping[str, tuple[str, ...]]:
    """The codes of the rules by entity; from memory, but for a transaction that has changed rules itself."""
    own = uow in book.writers
    if book.validators is not None and not own:
        return book.validators
    generation = book.generation
    found = _by_entity((await uow.execute(READ_VALIDATORS)).all())
    if not own and generation == book.generation:
        book.validators = found
    return found


def _by_entity(rows: Sequence[Row[Any]]) -> Mapping[str, tuple[str, ...]]:
    return {row.entity: tuple(row.codes) for row in rows}


def _asked(
    rule: PublishedRule, version: VersionInForce, entity: EntityDef, prefix: str, record: Mapping[str, Any]
) -> list[FieldProblem]:
    given = {name: as_fact(record[name]) for name in version.compiled.fields if record.get(name) is not None}
    try:
        answers = version.compiled.evaluate(given).answers
    except ValidationFailed as error:
        return [
            FieldProblem(f"{prefix}{_place(entity, problem.path)}", f"{problem.message} (rule {rule.code})", "rule")
            for problem in error.problems
        ]
    except StepsError as error:
        return [FieldProblem(prefix.rstrip("."), f"The rule {rule.code} gives no answer: {error.detail}", "rule")]
    return [
        FieldProblem(f"{prefix}{_place(entity, str(answer.get('field') or ''))}".rstrip("."), said, "rule")
        for answer in answers
        if (said := str(answer.get("message") or ""))
    ]


def _place(entity: EntityDef, path: str) -> str:
    """The field that is meant; the record as a whole where the rule names none that there is."""
    return path if entity.has_field(path) else ""


async def check_written_rule(uow: UnitOfWork, event: RecordCreated) -> None:
    """A rule about records names an entity that there is. Raises ValidationFailed."""
    if event.entity != "rule":
        return
    rules = uow.table("rule")
    entity = await uow.scalar(select(rules.c.entity).where(rules.c.id == event.record_id))
    if entity is not None and entity not in uow.registry.entities:
        message = "There is no such entity; write its name, such as trade."
        raise ValidationFailed([FieldProblem("entity", message, "unknown")])


def unknown_facts(entity: EntityDef, facts: Sequence[str]) -> list[str]:
    """Facts that no field of the entity gives."""
    return [name for name in facts if not entity.has_field(name)]
