"""The sweep of SLA clocks, as the worker runs it every few seconds."""

from app.bootstrap import Runtime
from app.domain.sla.sweep import sweep


async def sweep_clocks(runtime: Runtime) -> int:
    """Record and announce every threshold that has been reached; return how many were recorded."""
    return (await sweep(runtime)).recorded
