"""Segregation of duties between the processes of one run: who had a part in one may have none in another.

That a maker is not a checker, nor is a delegate of the maker, is a rule of the engine itself and needs no row.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

import orjson
from sqlalchemy import text

from app.core.uow import UnitOfWork
from app.domain.workflow.acting import Acting, Command
from app.domain.workflow.decisions import Refusal
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.states import Guard, Name, ProcessKind

# The run is locked, so what stands in its processes stays until the commit. A rule holds in both directions. What an
# approval has as makers is the work of its predecessors: its own part are the signatures, and who reworked it.
READ_RULES = text(
    """
SELECT x.code, x.label, q.label AS process, q.kind, q.assignee_id, q.maker_id, q.state,
       CASE WHEN x.process_code = :code THEN x.part ELSE x.other_part END AS part_here,
       CASE WHEN x.process_code = :code THEN x.other_part ELSE x.part END AS part_there,
       q.makers::text AS makers, q.signers::text AS signers
FROM process_run p
JOIN workflow_run r ON r.id = p.run_id
JOIN duty_rule x ON x.workflow_id = r.workflow_id AND x.active AND :code IN (x.process_code, x.other_process_code)
JOIN process_run q ON q.run_id = p.run_id
     AND q.code = CASE WHEN x.process_code = :code THEN x.other_process_code ELSE x.process_code END
WHERE p.id = :id
ORDER BY x.code
"""
)


class Part(StrEnum):
    ANY = "any"
    MADE = "made"
    APPROVED = "approved"


# What a transition makes of whoever does it; for an assignment that is the assignee.
PART_OF: Mapping[Name, Part] = MappingProxyType(
    {
        Name.CLAIM: Part.MADE,
        Name.ASSIGN: Part.MADE,
        Name.START: Part.MADE,
        Name.SUBMIT: Part.MADE,
        Name.APPROVE: Part.APPROVED,
    }
)


@dataclass(frozen=True, slots=True)
class DutyRule:
    """A rule as it stands against one process: who has the part `there` may not have the part `here`."""

    code: str
    label: str
    process: str  # the other one's label
    here: Part
    there: Part
    made: frozenset[UUID]
    approved: frozenset[UUID]

    @property
    def people(self) -> frozenset[UUID]:
        """Who has the part in the other process."""
        made = self.made if self.there in (Part.ANY, Part.MADE) else frozenset()
        approved = self.approved if self.there in (Part.ANY, Part.APPROVED) else frozenset()
        return made | approved


def broken(rules: Iterable[DutyRule], part: Part, people: Collection[UUID]) -> DutyRule | None:
    """The first rule by which these people may not have this part."""
    for rule in rules:
        if rule.here in (Part.ANY, part) and rule.people & set(people):
            return rule
    return None


async def check_duties(
    uow: UnitOfWork, name: Name, row: ProcessRow, command: Command, acting: Acting
) -> Refusal | None:
    """What the run's duty rules say about the transition; one statement, and only where the workflow has some."""
    part = PART_OF.get(name)
    if part is None:
        return None
    assigned = (command.assignee_id,) if command.assignee_id is not None else ()
    people = assigned if name is Name.ASSIGN else acting.ids
    rule = broken(await rules_against(uow, row), part, people)
    if rule is None:
        return None
    whose = "That user" if name is Name.ASSIGN else "You" if acting.actor.id in rule.people else "Whom you stand in for"
    did = {Part.ANY: "had a part in", Part.MADE: "made", Part.APPROVED: "approved"}[rule.there]
    detail = f"{whose} {did} “{rule.process}” of this run. Duty rule {rule.code}: {rule.label}."
    role = row.checker_role if part is Part.APPROVED else row.owner_role
    return Refusal(Guard.DUTY_RULE, detail, f"Somebody who has not {did} “{rule.process}” does it.", role)


async def rules_against(uow: UnitOfWork, row: ProcessRow) -> list[DutyRule]:
    """The active rules that name the process, each with who had which part in the other one."""
    found = await uow.execute(READ_RULES, {"id": row.id, "code": row.code})
    return [
        DutyRule(
            item.code,
            item.label,
            item.process,
            Part(item.part_here),
            Part(item.part_there),
            _made(item.kind, item.makers, item.maker_id, item.assignee_id),
            _people(item.signers),
        )
        for item in found
    ]


def _made(kind: str, makers: str | None, maker_id: UUID | None, assignee_id: UUID | None) -> frozenset[UUID]:
    reworked = ProcessKind(kind).decided
    own = frozenset((maker_id,) if maker_id and assignee_id else ()) if reworked else _people(makers)
    return own | frozenset((assignee_id,) if assignee_id else ())


def _people(json_text: str | None) -> frozenset[UUID]:
    return frozenset(UUID(item) for item in orjson.loads(json_text)) if json_text else frozenset()
