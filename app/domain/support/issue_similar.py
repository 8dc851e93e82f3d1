"""Issues that may be about the same trouble, by their titles."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select

from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import scope
from app.domain.support.issue_links import ISSUE

MOST = 5


@dataclass(frozen=True, slots=True)
class SimilarIssue:
    """`likeness`: 0 to 1. An open one can take over; a solved one says how it was solved."""

    id: UUID
    reference: str
    title: str
    is_open: bool
    likeness: float
    resolution: str | None
    created_at: datetime


async def similar_issues(
    uow: UnitOfWork, *, title: str, besides: Sequence[UUID] = (), most: int = MOST
) -> list[SimilarIssue]:
    """Issues with a title like this one that the actor may see, the most alike first; merged ones are left out."""
    authorize(uow, "read", ISSUE)
    words = title.strip()[:200]
    if len(words) < 4:
        return []
    i = uow.table(ISSUE)
    likeness = func.similarity(i.c.title, words)
    statement = (
        select(
            i.c.id,
            i.c.reference,
            i.c.title,
            i.c.resolved_at,
            i.c.closed_at,
            i.c.resolution,
            i.c.created_at,
            likeness.label("likeness"),
        )
        .where(i.c.title.op("%")(words), i.c.merged_into_id.is_(None), i.c.id.not_in(list(besides)))
        .order_by(likeness.desc(), i.c.created_at.desc())
        .limit(most)
    )
    rows = await uow.execute(scope(statement, uow, "read", ISSUE))
    return [
        SimilarIssue(
            id=row.id,
            reference=row.reference,
            title=row.title,
            is_open=row.resolved_at is None and row.closed_at is None,
            likeness=round(float(row.likeness), 2),
            resolution=row.resolution,
            created_at=row.created_at,
        )
        for row in rows
    ]
