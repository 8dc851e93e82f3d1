"""Escalations in the worker: end those whose matter is over, tell the steps that are due."""

from app.bootstrap import Runtime
from app.domain.escalation.climbing import climb


async def climb_ladders(runtime: Runtime) -> int:
    """Move every escalation that is due; return how many."""
    return await climb(runtime)
