"""What is handed in and signed: evidence, checklist, comment, figures. One statement reads it; the rest is pure."""

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

import orjson
from sqlalchemy import text

from app.core.audit import plain_value
from app.core.uow import UnitOfWork
from app.domain.workflow.behind import Behind, read_behind
from app.domain.workflow.evidence_checks import UnfitFile, unfit_files
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.states import Guard, ProcessKind

# Higher features add to what is required and to what is signed; `app.bootstrap` puts their functions under these names.
GUARDS_SERVICE = "process_guards"
CONTENT_SERVICE = "process_content"

READ_CONTENT = text(
    """
SELECT
    (SELECT coalesce(jsonb_agg(jsonb_build_object('code', e.code, 'label', e.label, 'mandatory', e.mandatory,
                                                  'min_count', e.min_count, 'min_rows', e.min_rows,
                                                  'tie_column', e.tie_column, 'tie_figure', e.tie_figure)
                               ORDER BY e.position), '[]')
     FROM process_evidence e WHERE e.parent_id = :process_id)::text,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('id', f.id, 'purpose', f.purpose, 'name', f.name,
                                                  'version', f.version_number, 'sha256', f.sha256,
                                                  'by', (SELECT jsonb_agg(DISTINCT v.created_by) FROM file_version v
                                                         WHERE v.file_id = f.id)) ORDER BY f.id), '[]')
     FROM file f
     WHERE f.record_entity = 'process_run' AND f.record_id = :id AND f.deleted_at IS NULL
       AND f.sha256 IS NOT NULL)::text,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('code', c.code, 'label', c.label, 'mandatory', c.mandatory,
                                                  'done', coalesce(x.done, false), 'by', x.actor_id,
                                                  'on_behalf_of', x.on_behalf_of_id)
                               ORDER BY c.position), '[]')
     FROM process_checklist_item c LEFT JOIN checklist_answer x ON x.process_run_id = :id AND x.item = c.code
     WHERE c.parent_id = :process_id)::text,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('code', c.code, 'label', c.label, 'mandatory', c.mandatory,
                                                  'type', c.answer_type, 'options', c.options,
                                                  'expected', c.expected, 'answer', x.answer, 'comment', x.comment,
                                                  'by', x.actor_id, 'on_behalf_of', x.on_behalf_of_id)
                               ORDER BY c.position), '[]')
     FROM process_question c LEFT JOIN question_answer x ON x.process_run_id = :id AND x.question = c.code
     WHERE c.parent_id = :process_id)::text,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('code', q.code, 'state', q.state, 'hash', q.snapshot_hash,
                                                  'submitted_at', q.submitted_at)
                               ORDER BY q.code), '[]')
     FROM process_edge e JOIN process_run q ON q.id = e.predecessor_id
     WHERE e.successor_id = :id AND e.edge_type = 'FS' AND e.hardness = 'hard')::text
"""
)


class EvidenceItem(TypedDict):
    code: str
    label: str
    mandatory: bool
    min_count: int | None
    min_rows: int | None
    tie_column: str | None
    tie_figure: str | None


class EvidenceFile(TypedDict):
    id: str
    purpose: str | None
    name: str
    version: int
    sha256: str
    by: list[str | None] | None


class ChecklistItem(TypedDict):
    code: str
    label: str
    mandatory: bool
    done: bool
    by: str | None
    on_behalf_of: str | None


class QuestionItem(TypedDict):
    code: str
    label: str
    mandatory: bool
    type: str
    options: str | None
    expected: str | None
    answer: str | None
    comment: str | None
    by: str | None
    on_behalf_of: str | None


class PredecessorResult(TypedDict):
    code: str
    state: str
    hash: str | None
    submitted_at: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """What stands for a process run now. `figures` come from other features, such as the PnL that is approved."""

    evidence: tuple[EvidenceItem, ...]
    files: tuple[EvidenceFile, ...]
    checklist: tuple[ChecklistItem, ...]
    questions: tuple[QuestionItem, ...]
    predecessors: tuple[PredecessorResult, ...]
    figures: Mapping[str, Any]
    behind: tuple[Behind, ...] = ()  # of a sign-off: all that it signs
    behind_figures: Mapping[str, Any] = field(default_factory=dict)
    unfit: tuple[UnfitFile, ...] = ()  # files that are there and are not what was asked for

    @property
    def contributors(self) -> frozenset[UUID]:
        """Who has put evidence or answers into it."""
        named = [by for item in self.checklist if item["done"] for by in (item["by"], item["on_behalf_of"])]
        named += [by for answered in self.questions for by in (answered["by"], answered["on_behalf_of"])]
        named += [by for file in self.files for by in file["by"] or ()]
        return frozenset(UUID(by) for by in named if by)

    @property
    def handed_in_since(self) -> datetime | None:
        """When the first of the work that an approval decides on was submitted."""
        times = [datetime.fromisoformat(p["submitted_at"]) for p in self.predecessors if p["submitted_at"]]
        return min(times, default=None)


@dataclass(frozen=True, slots=True)
class UnmetGuard:
    """A requirement that is not met; `satisfy` says what to do about it."""

    guard: str
    label: str
    satisfy: str


@dataclass(frozen=True, slots=True)
class Requirement:
    """One line of the list that a page shows beside the action."""

    guard: str
    label: str
    met: bool
    satisfy: str


ProcessGuard = Callable[[UnitOfWork, ProcessRow], Awaitable[Sequence[UnmetGuard]]]
ProcessContent = Callable[[UnitOfWork, ProcessRow], Awaitable[Mapping[str, Any]]]


async def read_content(uow: UnitOfWork, row: ProcessRow) -> Content:
    """At most one statement, and those of the features that add figures; for a sign-off what stands behind it."""
    evidence, files, checklist, questions, predecessors = await _own_content(uow, row)
    figures = await _figures(uow, row)
    content = Content(evidence, files, checklist, questions, predecessors, figures)
    if row.kind is ProcessKind.SIGN_OFF:
        behind = await read_behind(uow, row)
        content = replace(content, behind=behind, behind_figures=await _figures_behind(uow, row, behind))
    if any(item["min_rows"] or item["tie_column"] for item in evidence):
        content = replace(content, unfit=await unfit_files(uow, evidence, files, figures))
    return content


async def _figures(uow: UnitOfWork, row: ProcessRow) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    providers: Sequence[ProcessContent] = uow.resources.services.get(CONTENT_SERVICE, ())
    for provide in providers:
        figures.update(await provide(uow, row))
    return figures


async def _figures_behind(uow: UnitOfWork, row: ProcessRow, behind: Sequence[Behind]) -> dict[str, Any]:
    """Those of each node that is dealt with behind it: the cost follows the nodes, not the processes."""
    nodes = {item.node_id for item in behind if item.node_id is not None} - {row.node_id}
    found = {str(node): await _figures(uow, replace(row, node_id=node)) for node in sorted(nodes)}
    return {node: figures for node, figures in found.items() if figures}


async def _own_content(uow: UnitOfWork, row: ProcessRow) -> tuple[Any, ...]:
    if not row.has_content and not row.kind.decided:
        return (), (), (), (), ()
    values = (await uow.execute(READ_CONTENT, {"id": row.id, "process_id": row.process_id})).one()
    return tuple(tuple(orjson.loads(value)) for value in values)


async def plugged_in(uow: UnitOfWork, row: ProcessRow) -> list[UnmetGuard]:
    """What the features above find missing."""
    guards: Sequence[ProcessGuard] = uow.resources.services.get(GUARDS_SERVICE, ())
    return [unmet for guard in guards for unmet in await guard(uow, row)]


def requirements(content: Content, row: ProcessRow, comment: str | None) -> tuple[Requirement, ...]:
    """Every control of the definition, met or not."""
    found: list[Requirement] = []
    if row.require_comment:
        met = bool((comment or "").strip())
        found.append(Requirement(Guard.COMMENT, "Comment", met, "Write a comment."))
    found += [
        Requirement(Guard.CHECKLIST, item["label"], item["done"], f"Tick “{item['label']}”.")
        for item in content.checklist
        if item["mandatory"]
    ]
    found += [
        Requirement(Guard.QUESTION, asked["label"], asked["answer"] is not None, f"Answer “{asked['label']}”.")
        for asked in content.questions
        if asked["mandatory"]
    ]
    given = Counter(file["purpose"] for file in content.files)
    for wanted in content.evidence:
        if wanted["mandatory"]:
            needed, have = wanted["min_count"] or 1, given[wanted["code"]]
            count = f": {needed} files, {have} {'is' if have == 1 else 'are'} there" if needed > 1 else ""
            found.append(
                Requirement(Guard.EVIDENCE, wanted["label"], have >= needed, f"Attach “{wanted['label']}”{count}.")
            )
    found += [Requirement(Guard.EVIDENCE, file.label, False, file.satisfy) for file in content.unfit]
    return tuple(found)


def missing(found: Sequence[Requirement]) -> list[UnmetGuard]:
    return [UnmetGuard(item.guard, item.label, item.satisfy) for item in found if not item.met]


def unmet_controls(found: Sequence[Requirement], others: Sequence[UnmetGuard], row: ProcessRow) -> tuple[str, ...]:
    """What a skip leaves undone, in words: requirements, findings of other features, signatures."""
    words = [item.label for item in found if not item.met] + [item.label for item in others]
    for rule in row.approval_levels:
        signed = rule.level < row.level
        have = rule.needed if signed else row.signatures if rule.level == row.level else 0
        if have < rule.needed:
            words.append(f"Approval level {rule.level} by {rule.who}: {have} of {rule.needed} signatures")
    return tuple(words)


def output_digest(content: Content, comment: str | None) -> str:
    """SHA-256 of what the work has brought about, whoever did it and in which round: what others build on."""
    made = {
        "comment": (comment or "").strip(),
        "checklist": sorted([item["code"], item["done"]] for item in content.checklist),
        "files": sorted([file["purpose"] or "", file["name"], file["sha256"]] for file in content.files),
        "figures": plain_value(content.figures),
        **_answered(content),
        **_signed_behind(content),
    }
    return hashlib.sha256(orjson.dumps(made, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _answered(content: Content) -> dict[str, Any]:
    """Only where there are questions, so that what was signed before there were any keeps its hash."""
    if not content.questions:
        return {}
    return {"questions": sorted([q["code"], q["answer"] or "", q["comment"] or ""] for q in content.questions)}


def _signed_behind(content: Content) -> dict[str, Any]:
    if not content.behind:
        return {}
    work = [[item.code, item.state.value, item.output or ""] for item in content.behind]
    return {"behind": sorted(work), "behind_figures": plain_value(content.behind_figures)}


def digest(content: Content, row: ProcessRow, comment: str | None) -> str:
    """SHA-256 of what is signed: equal content gives an equal hash, whatever the order it was put together in."""
    signed: dict[str, Any] = {
        "process_run": str(row.id),
        # Sent back to an earlier level, it is decided in a new round on what was handed in before.
        "round": row.submitted_round or row.round,
        "comment": comment or "",
        "checklist": sorted([item["code"], item["done"]] for item in content.checklist),
        "files": sorted([file["purpose"] or "", file["id"], file["version"], file["sha256"]] for file in content.files),
        "figures": plain_value(content.figures),
    }
    if row.kind.decided:
        signed["predecessors"] = [[p["code"], p["state"], p["hash"]] for p in content.predecessors]
    signed |= {**_answered(content), **_signed_behind(content)}
    return hashlib.sha256(orjson.dumps(signed, option=orjson.OPT_SORT_KEYS)).hexdigest()
