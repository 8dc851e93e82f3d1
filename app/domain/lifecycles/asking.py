"""What decisions about steps look at beside the record: read once for any number of records and steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.core.filters import Term, Variables
from app.core.filters.canonical import terms
from app.core.filters.nodes import TREE_OPERATORS
from app.core.filters.python import Resolve
from app.core.uow import UnitOfWork
from app.domain.entities.codec import codec_of
from app.domain.lifecycles.decisions import Acting, Refusal, Subject, check
from app.domain.lifecycles.rulings import Rulings, rulings_for
from models.lifecycle import TransitionDef


@dataclass(frozen=True, slots=True)
class Asking:
    """What decisions look at beside the record: the records it refers to, and the business rules of its steps."""

    resolve: Resolve | None
    rulings: Rulings
    node_paths: Mapping[UUID, str] | None

    def check(
        self,
        step: TransitionDef,
        subject: Subject,
        acting: Acting,
        known: Variables,
        *,
        comment: str | None = None,
        inputs_follow: bool = False,
    ) -> Refusal | None:
        """The one decision that commands, pages and lists share."""
        if self.node_paths is not None:
            known = replace(known, node_paths=self.node_paths)
        return check(
            step,
            subject,
            acting,
            variables=known,
            resolve=self.resolve,
            comment=comment,
            ask=self.rulings.ask,
            inputs_follow=inputs_follow,
        )


async def asking_for(uow: UnitOfWork, subjects: Mapping[UUID, Subject], steps: Sequence[TransitionDef]) -> Asking:
    """What deciding these steps takes: a statement per reference that guards look through, and per unknown rule."""
    names = {step.name for step in steps if step.guard}
    lifecycles = {id(subject.lifecycle): subject.lifecycle for subject in subjects.values()}.values()
    read = [
        term for known in lifecycles for name in names if name in known.guards for term in terms(known.guards[name])
    ]
    records = [subject.record for subject in subjects.values()]
    around: dict[tuple[str, UUID], dict[str, Any]] = {}
    for term in read:
        await follow(uow, term, records, around)
    paths = await node_paths(uow, read, [*records, *around.values()])
    return Asking(lambda entity, id_: around.get((entity, id_)), await rulings_for(uow, steps), paths)


def people_of(uow: UnitOfWork) -> frozenset[UUID]:
    """The actor, and whose authority they use."""
    return frozenset(id_ for id_ in (uow.actor.id, uow.actor.on_behalf_of) if id_ is not None)


async def follow(
    uow: UnitOfWork,
    term: Term,
    records: Sequence[dict[str, Any]],
    around: dict[tuple[str, UUID], dict[str, Any]],
) -> None:
    """Read the records on the way of a guard's path, hop by hop; what is there already is not read again."""
    here = list(records)
    for hop in term.path.hops:
        codec, table = codec_of(uow.registry, hop.target), uow.table(hop.target)
        if hop.many:
            wanted = [record["id"] for record in here if hop.name not in record]
            for record in here:
                record.setdefault(hop.name, [])
            if wanted:
                rows = await uow.execute(select(table).where(table.c.parent_id.in_(wanted)).order_by(table.c.position))
                lines = [codec.record(row) for row in rows.mappings()]
                for record in here:
                    record[hop.name] += [line for line in lines if line["parent_id"] == record["id"]]
            here = [line for record in here for line in record[hop.name]]
            continue
        ids = {record[hop.name] for record in here if record.get(hop.name) is not None}
        missing = [id_ for id_ in ids if (hop.target, id_) not in around]
        if missing:
            for row in (await uow.execute(select(table).where(table.c.id.in_(missing)))).mappings():
                around[hop.target, row["id"]] = codec.record(row)
        here = [around[hop.target, id_] for id_ in ids if (hop.target, id_) in around]


async def node_paths(
    uow: UnitOfWork, read: Sequence[Term], records: Sequence[Mapping[str, Any]]
) -> Mapping[UUID, str] | None:
    """Where nodes lie in their tree, for guards that ask what is below what; None where none does."""
    placing = [term for term in read if any(test.operator in TREE_OPERATORS for test in term.tests)]
    if not placing:
        return None
    held = {record.get(term.path.leaf.name) for term in placing for record in records}
    named = {value for term in placing for test in term.tests for value in test.values}
    mine = {grant.node_id for grant in uow.actor.grants}
    ids = [value for value in held | named | mine if isinstance(value, UUID)]
    nodes = uow.table("hierarchy_node")
    rows = await uow.execute(select(nodes.c.id, nodes.c.path).where(nodes.c.id.in_(ids)))
    return {row.id: str(row.path) for row in rows}
