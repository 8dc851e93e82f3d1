"""Queries that are due, as the worker tells of them."""

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.domain.support import query_events


async def tell_due_queries(runtime: Runtime) -> int:
    """Tell whoever is asked that a query is due soon or late; return how many that were."""
    async with runtime.uow(system_actor("Queries")) as uow:
        return await query_events.tell_due(uow)
