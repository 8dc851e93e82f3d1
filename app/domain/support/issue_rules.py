"""Issues that raise themselves: rules about jobs that have failed for good and about deadlines.

What happened and the wish for an issue stand in one transaction; a job then raises it, in a transaction of its own, so
that it holds no lock of the process while it takes those of issues. The job may come twice: everything it was told of
leaves a message with the key of what happened, once. Raising is serialised by the lock on the rule, so that of many
troubles at once the first one raises the issue and the others are added to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, Text, Uuid, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.errors import FieldProblem, ValidationFailed
from app.core.events import RecordCreated, RecordUpdated
from app.core.filters import FilterError, parse, to_sql
from app.core.uow import UnitOfWork
from app.domain.entities.queries import variables
from app.domain.jobs.events import JobFailed
from app.domain.sla.events import SlaThresholdsPassed, ThresholdName
from app.domain.support.issue_links import JOB, PROCESS, RUN, Record, link_records
from app.domain.support.issue_messages import post_message
from app.domain.support.issues import raise_issue

RULE = "issue_rule"
RAISE = "raise_issue"  # the job
FALLBACK = "PLATFORM"  # the application of trouble that has none


class Trouble(StrEnum):
    JOB_FAILED = "job_failed"
    BREACH = "breach"
    WARNING = "warning"


class SameTrouble(StrEnum):
    """What makes two troubles one."""

    PROCESS = "process"
    PROCESS_RUN = "process_run"
    RUN = "run"
    FUNCTION = "function"
    ALL = "all"


WORDS: Mapping[Trouble, str] = {
    Trouble.JOB_FAILED: "the job has failed",
    Trouble.BREACH: "the deadline was missed",
    Trouble.WARNING: "the deadline is near",
}

ANY_RULE = text("SELECT DISTINCT event FROM issue_rule WHERE active AND event = ANY (:events)").bindparams(
    bindparam("events", type_=ARRAY(Text))
)
RULES = text("SELECT * FROM issue_rule WHERE active AND event = :event ORDER BY code")
LOCK_RULE = text("SELECT id FROM issue_rule WHERE id = :id FOR UPDATE")
# Every subject with what titles and keys are made of. A clock of a run has no process.
SUBJECTS = text(
    """
SELECT s.source, s.entity, s.id, p.id AS process_run_id, p.process_id, coalesce(p.run_id, r.id) AS run_id,
       coalesce(p.label, r.label, j.function) AS process, w.reference AS run, j.function, j.error
FROM unnest(CAST(:sources AS text[]), CAST(:entities AS text[]), CAST(:ids AS uuid[])) AS s (source, entity, id)
LEFT JOIN job_run j ON s.entity = 'job_run' AND j.id = s.id
LEFT JOIN process_run p ON p.id = CASE s.entity WHEN 'process_run' THEN s.id WHEN 'job_run' THEN j.process_run_id END
LEFT JOIN workflow_run r ON s.entity = 'workflow_run' AND r.id = s.id
LEFT JOIN workflow_run w ON w.id = coalesce(p.run_id, r.id)
WHERE coalesce(j.id, p.id, r.id) IS NOT NULL
ORDER BY s.source
"""
).bindparams(
    bindparam("sources", type_=ARRAY(Text)),
    bindparam("entities", type_=ARRAY(Text)),
    bindparam("ids", type_=ARRAY(Uuid)),
)
OPEN_ISSUE = text(
    """
SELECT id FROM issue WHERE rule_id = :rule_id AND dedup_key = :key AND resolved_at IS NULL AND closed_at IS NULL
ORDER BY created_at LIMIT 1
"""
)
# An issue that was merged goes on as the other one.
GOES_ON_AS = text(
    """
SELECT t.id FROM issue s JOIN issue t ON t.id = s.merged_into_id
WHERE s.rule_id = :rule_id AND s.dedup_key = :key AND t.resolved_at IS NULL AND t.closed_at IS NULL
ORDER BY s.created_at DESC LIMIT 1
"""
)
SEEN_BEFORE = text("SELECT source FROM issue_message WHERE source = ANY (:sources)").bindparams(
    bindparam("sources", type_=ARRAY(Text))
)
AGAIN = text("UPDATE issue SET occurrences = occurrences + 1, last_seen_at = :now WHERE id = :id")


@dataclass(frozen=True, slots=True)
class Happened:
    """One trouble. `source` names it for ever, so that it counts once."""

    source: str
    record: Record


async def on_job_failed(uow: UnitOfWork, event: JobFailed) -> None:
    """A job has used up its attempts."""
    happened = Happened(f"job:{event.job_run_id}:{event.at.isoformat()}", (JOB, event.job_run_id))
    await _ask_for(uow, {Trouble.JOB_FAILED: [happened]})


async def on_thresholds_passed(uow: UnitOfWork, event: SlaThresholdsPassed) -> None:
    """Clocks have passed thresholds: one job for the whole batch of the sweep."""
    found: dict[Trouble, list[Happened]] = {}
    for passed in event.passed:
        if passed.record_entity in (PROCESS, RUN):
            happened = Happened(f"sla:{passed.event_id}", (passed.record_entity, passed.record_id))
            trouble = Trouble.BREACH if passed.threshold == ThresholdName.BREACH else Trouble.WARNING
            found.setdefault(trouble, []).append(happened)
    await _ask_for(uow, found)


async def _ask_for(uow: UnitOfWork, found: Mapping[Trouble, Sequence[Happened]]) -> None:
    if uow.simulated or not found:
        return
    wanted = (await uow.execute(ANY_RULE, {"events": [trouble.value for trouble in found]})).scalars().all()
    for trouble in wanted:
        subjects = [[h.source, h.record[0], str(h.record[1])] for h in found[Trouble(trouble)]]
        uow.enqueue(RAISE, {"trouble": trouble, "subjects": subjects})


async def raise_by_rules(uow: UnitOfWork, *, trouble: Trouble, happened: Sequence[Happened]) -> int:
    """Raise an issue for each trouble that a rule is about, or add it to the open one. Returns how many troubles."""
    count = 0
    for rule in (await uow.execute(RULES, {"event": trouble.value})).all():
        await uow.execute(LOCK_RULE, {"id": rule.id})
        sources = {each.source: f"{rule.code}:{each.source}" for each in happened}
        seen = set((await uow.execute(SEEN_BEFORE, {"sources": list(sources.values())})).scalars())
        new = [each for each in happened if sources[each.source] not in seen]
        for subject in await _matching(uow, rule, new):
            await _raise(uow, rule, trouble, subject, source=sources[subject.source])
            count += 1
    return count


async def _matching(uow: UnitOfWork, rule: Row[Any], happened: Sequence[Happened]) -> Sequence[Row[Any]]:
    """The subjects that are there, and pass the rule's condition where it has one."""
    values = {
        "sources": [each.source for each in happened],
        "entities": [each.record[0] for each in happened],
        "ids": [each.record[1] for each in happened],
    }
    subjects = (await uow.execute(SUBJECTS, values)).all() if happened else []
    if not rule.condition:
        return subjects
    table = uow.table(PROCESS)
    node = parse(rule.condition, uow.registry.entity(PROCESS), uow.registry)
    ids = [subject.process_run_id for subject in subjects if subject.process_run_id is not None]
    condition = to_sql(node, uow.registry, variables(uow), table=table)
    passing = set((await uow.execute(select(table.c.id).where(table.c.id.in_(ids), condition))).scalars())
    return [subject for subject in subjects if subject.process_run_id in passing]


async def _raise(uow: UnitOfWork, rule: Row[Any], trouble: Trouble, subject: Row[Any], *, source: str) -> None:
    key = key_of(SameTrouble(rule.same_trouble), subject)
    given = {"rule_id": rule.id, "key": key}
    issue_id = await uow.scalar(OPEN_ISSUE, given) or await uow.scalar(GOES_ON_AS, given)
    records: list[Record] = [(subject.entity, subject.id)]
    if subject.entity == JOB and subject.process_run_id is not None:
        records.insert(0, (PROCESS, subject.process_run_id))
    words = _words(trouble, subject)
    if issue_id is None:
        issue_id = await raise_issue(
            uow, values=await _values(uow, rule, subject, words), records=records, rule_id=rule.id, dedup_key=key
        )
    else:
        await uow.execute(AGAIN, {"id": issue_id, "now": uow.now})
        await link_records(uow, issue_id=issue_id, records=records)
    said = f"{words['process']}: {words['event']}." + (f" {words['run']}" if words["run"] else "")
    said = f"{said}\n\n{words['error']}" if words["error"] else said
    await post_message(uow, issue_id=issue_id, text=said[:10_000], source=source)
    await uow.dispatch()  # the next subject finds priority and times as they are


async def _values(uow: UnitOfWork, rule: Row[Any], subject: Row[Any], words: Mapping[str, str]) -> dict[str, Any]:
    a = uow.table("application")
    alone = subject.run_id is None
    fallback = await uow.scalar(select(a.c.id).where(a.c.code == FALLBACK)) if alone else None
    return {
        "application": str(fallback) if fallback else None,
        "title": filled(rule.title, words)[:200],
        "category": str(rule.category_id) if rule.category_id else None,
        "impact": rule.impact,
        "urgency": rule.urgency,
        "group": str(rule.group_id) if rule.group_id else None,
        "blocking": rule.blocking,
    }


def key_of(same: SameTrouble, subject: Any) -> str:
    """What two troubles have in common that are one. Where the subject has no such thing, it is by itself."""
    alone = f"{subject.entity}:{subject.id}"
    match same:
        case SameTrouble.PROCESS:
            return f"process:{subject.process_id}" if subject.process_id else alone
        case SameTrouble.PROCESS_RUN:
            return f"process_run:{subject.process_run_id}" if subject.process_run_id else alone
        case SameTrouble.RUN:
            return f"run:{subject.run_id}" if subject.run_id else alone
        case SameTrouble.FUNCTION:
            return f"function:{subject.function}" if subject.function else alone
        case SameTrouble.ALL:
            return "all"


def filled(template: str, words: Mapping[str, str]) -> str:
    """The words in their braces; any other brace stays as it is."""
    for name, value in words.items():
        template = template.replace(f"{{{name}}}", value)
    return " ".join(template.split())


def _words(trouble: Trouble, subject: Row[Any]) -> dict[str, str]:
    return {
        "process": subject.process or "Job",
        "run": subject.run or "",
        "function": subject.function or "",
        "event": WORDS[trouble],
        "error": (subject.error or "")[:2_000],
    }


async def check_written_rule(uow: UnitOfWork, event: RecordCreated | RecordUpdated) -> None:
    """Refuse a rule whose condition cannot be read. Raises ValidationFailed."""
    if event.entity != RULE:
        return
    table = uow.table(RULE)
    condition = await uow.scalar(select(table.c.condition).where(table.c.id == event.record_id))
    if not condition:
        return
    try:
        parse(condition, uow.registry.entity(PROCESS), uow.registry)
    except FilterError as problem:
        raise ValidationFailed([FieldProblem("condition", f"is no filter on a process: {problem}")]) from problem
