"""Hierarchies in the worker: changes that were entered for a later date come into force on it."""

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.domain.hierarchy.due import apply_due_changes as apply


async def apply_due_changes(runtime: Runtime) -> int:
    """Bring node changes into force whose date has come."""
    async with runtime.uow(system_actor("Hierarchies")) as uow:
        return await apply(uow)
