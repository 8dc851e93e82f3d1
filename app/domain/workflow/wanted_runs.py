"""Runs that another feature asks for, inside its transaction: the effect `start_run` of a record's lifecycle."""

from uuid import UUID

from app.core.uow import UnitOfWork
from app.domain.lifecycles.events import RunWanted
from app.domain.workflow.runs import create_run


async def on_run_wanted(uow: UnitOfWork, event: RunWanted) -> None:
    """Create the run of the day, or leave the one there is. `node` and `variant` may come with the record.

    Raises NotFound and Conflict where the workflow cannot run: then the step is not taken either.
    """
    node = event.values.get("node")
    with uow.by_platform():
        await create_run(
            uow,
            workflow=event.workflow,
            business_date=event.business_date,
            node_id=UUID(str(node)) if node else None,
            variant=str(event.values.get("variant") or ""),
        )
