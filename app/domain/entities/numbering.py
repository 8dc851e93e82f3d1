"""Human reference numbers such as TRD-2026-000042, without gaps and never twice."""

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert

from app.core.uow import UnitOfWork
from models.schema import EntityDef, ReferenceNumber
from models.system.tables import reference_counter


def period_of(numbering: ReferenceNumber, now: datetime) -> str:
    """What the count starts anew with."""
    return {"never": "", "year": f"{now:%Y}", "month": f"{now:%Y-%m}"}[numbering.reset]


async def next_references(uow: UnitOfWork, entity: EntityDef, count: int) -> list[str]:
    """The next `count` references, in order. The counter row stays locked until the commit."""
    numbering = entity.reference_number
    if numbering is None or count == 0:
        return []
    statement = insert(reference_counter).values(entity=entity.name, period=period_of(numbering, uow.now), last=count)
    statement = statement.on_conflict_do_update(
        index_elements=["entity", "period"], set_={"last": reference_counter.c.last + count}
    )
    last = int(await uow.scalar(statement.returning(reference_counter.c.last)))
    return [
        numbering.pattern.format(year=uow.now.year, month=f"{uow.now.month:02d}", seq=number)
        for number in range(last - count + 1, last + 1)
    ]
