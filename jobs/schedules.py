"""Schedules in the worker: create the runs that are due."""

from app.bootstrap import Runtime
from app.domain.schedules.service import create_due_runs as create


async def create_due_runs(runtime: Runtime) -> int:
    """Create, omit or retry what schedules have due; return how many occurrences that were."""
    return await create(runtime)
