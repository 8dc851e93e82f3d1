"""One statement that writes any number of decided steps: the states, their log, and the approvals."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.uow import UnitOfWork
from app.domain.entities.codec import codec_of
from app.domain.lifecycles.decisions import Subject
from models.base import uuid7
from models.lifecycle import TransitionDef
from models.schema import EntityDef

# `{table}` and `{state}` are names out of the metadata, never out of a request.
_WRITE = """
WITH changed AS (
    UPDATE {table} r SET
        {state} = c.state, row_version = r.row_version + 1, updated_at = c.at, updated_by = :actor_id
    FROM jsonb_to_recordset(:records) AS c (id uuid, state text, at timestamptz)
    WHERE r.id = c.id
), logged AS (
    INSERT INTO record_transition (id, record_entity, record_id, title, version_id, name, label, from_state, to_state,
                                   actor_id, actor_name, on_behalf_of_id, at, comment, approvers, source, source_index,
                                   created_at, created_by, updated_at, updated_by)
    SELECT s.id, :entity, s.record_id, s.title, s.version_id, s.name, s.label, s.from_state, s.to_state,
           :user_id, coalesce(s.performer, :actor_name), :on_behalf_of, s.at, s.comment, nullif(s.approvers, 'null'),
           s.source, s.source_index,
           s.at, :actor_id, s.at, :actor_id
    FROM jsonb_to_recordset(:steps) AS s (
        n int, id uuid, record_id uuid, title text, version_id uuid, name text, label text, from_state text,
        to_state text, at timestamptz, comment text, approvers jsonb, source text, source_index int, performer text)
    ORDER BY s.n
), approved AS (
    INSERT INTO record_approval (id, record_entity, record_id, version_id, transition, state, actor_id, actor_name,
                                 on_behalf_of_id, at, comment, done_at, created_at, created_by, updated_at, updated_by)
    SELECT a.id, :entity, a.record_id, a.version_id, a.transition, a.state, :user_id, :actor_name, :on_behalf_of,
           a.at, a.comment, a.done_at, a.at, :actor_id, a.at, :actor_id
    FROM jsonb_to_recordset(:approvals) AS a (
        id uuid, record_id uuid, version_id uuid, transition text, state text, at timestamptz, comment text,
        done_at timestamptz)
), closed AS (
    UPDATE record_approval p SET
        done_at = CASE WHEN e.ended THEN p.done_at ELSE coalesce(p.done_at, e.at) END,
        ended_at = CASE WHEN e.ended THEN e.at END,
        row_version = p.row_version + 1, updated_at = e.at, updated_by = :actor_id
    FROM jsonb_to_recordset(:closings) AS e (record_id uuid, transition text, ended boolean, at timestamptz)
    WHERE p.record_entity = :entity AND p.record_id = e.record_id AND p.ended_at IS NULL
      AND (e.ended OR p.transition = e.transition)
)
SELECT 1
"""
_JSON = [bindparam(name, type_=JSONB) for name in ("records", "steps", "approvals", "closings")]
_statements: dict[tuple[str, str], TextClause] = {}


@dataclass(frozen=True, slots=True)
class Step:
    """One step that is to be written. `fields`: what its effects set; `approvers`: who let it through together."""

    subject: Subject
    step: TransitionDef
    from_state: str
    at: datetime
    title: str
    label: str
    comment: str | None = None
    fields: tuple[tuple[str, Any], ...] = ()
    approvers: tuple[dict[str, Any], ...] = ()
    source: str | None = None
    source_index: int | None = None
    performer: str | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """One person's approval. `completes`: the step was taken by it."""

    subject: Subject
    step: TransitionDef
    at: datetime
    comment: str | None
    completes: bool


async def write(
    uow: UnitOfWork, entity: EntityDef, steps: Sequence[Step], signatures: Sequence[Signature], *, people: bool
) -> None:
    """Write it all; the records are locked. `people`: whether there can be approvals to close."""
    last = {step.subject.record["id"]: step for step in steps}
    actor = uow.actor
    values = {
        "entity": entity.name,
        "records": [
            {"id": str(id_), "state": step.subject.state, "at": step.at.isoformat()} for id_, step in last.items()
        ],
        "steps": [_logged(number, step) for number, step in enumerate(steps)],
        "approvals": [_signed(signature) for signature in signatures],
        "closings": [_closing(step) for step in last.values()] if people else [],
        "actor_id": actor.id,
        "user_id": None if actor.is_system else actor.id,
        "actor_name": actor.name,
        "on_behalf_of": actor.on_behalf_of,
    }
    await uow.execute(_statement(uow, entity), values)
    await _write_fields(uow, entity, last)


def _statement(uow: UnitOfWork, entity: EntityDef) -> TextClause:
    table = uow.table(entity.name)
    key = (table.fullname, entity.state_field)
    if key not in _statements:
        _statements[key] = text(_WRITE.format(table=table.fullname, state=entity.state_field)).bindparams(*_JSON)
    return _statements[key]


def _logged(number: int, step: Step) -> dict[str, Any]:
    return {
        "n": number,
        "id": str(uuid7()),
        "record_id": str(step.subject.record["id"]),
        "title": step.title,
        "version_id": str(step.subject.lifecycle.version_id),
        "name": step.step.name,
        "label": step.label,
        "from_state": step.from_state,
        "to_state": step.step.to,
        "at": step.at.isoformat(),
        "comment": step.comment,
        "approvers": list(step.approvers) or None,
        "source": step.source,
        "source_index": step.source_index,
        "performer": step.performer,
    }


def _signed(signature: Signature) -> dict[str, Any]:
    return {
        "id": str(uuid7()),
        "record_id": str(signature.subject.record["id"]),
        "version_id": str(signature.subject.lifecycle.version_id),
        "transition": signature.step.name,
        "state": signature.subject.state,
        "at": signature.at.isoformat(),
        "comment": signature.comment,
        "done_at": signature.at.isoformat() if signature.completes else None,
    }


def _closing(step: Step) -> dict[str, Any]:
    """A record that is a draft again starts anew: no approval of before counts any more."""
    category = step.subject.lifecycle.states[step.step.to].category
    return {
        "record_id": str(step.subject.record["id"]),
        "transition": step.step.name,
        "ended": category == "draft",
        "at": step.at.isoformat(),
    }


async def _write_fields(uow: UnitOfWork, entity: EntityDef, last: dict[UUID, Step]) -> None:
    """What effects have set; records with the same fields go together."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    codec, table = codec_of(uow.registry, entity.name), uow.table(entity.name)
    for id_, step in last.items():
        if step.fields:
            columns = codec.columns(dict(step.fields))
            groups.setdefault(tuple(columns), []).append(
                {"steps_id": id_, **{f"to_{n}": v for n, v in columns.items()}}
            )
    for names, rows in groups.items():
        change = table.update().where(table.c.id == bindparam("steps_id", type_=table.c.id.type))
        values = {name: bindparam(f"to_{name}", type_=table.c[name].type) for name in names}
        await uow.connection.execute(change.values(**values), rows)
