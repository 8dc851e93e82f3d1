"""A worker process for tests: the real one, with short leases and actions of its own.

Run as `python -m tests.jobs.worker_process`, with the settings in the environment.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from app.bootstrap import Runtime, build
from app.core.settings import load_settings
from app.domain.jobs.context import ActionResult, JobContext
from app.domain.jobs.outbox import OutboxClaim
from jobs.registry import JOBS, SCHEDULE
from jobs.worker import Timings, _log_to_stderr, _on_signals, serve
from tests.factories import SYSTEM, add_row
from tests.service.jobs.work import with_actions


async def slow_once(context: JobContext) -> ActionResult:
    """Write half of the work and, in the first attempt, never come to the end."""
    await add_row(context.uow, "hierarchy", code=f"half-{context.attempt}", label="Mark")
    context.log("info", f"half way in attempt {context.attempt}")
    if context.attempt == 1:
        await asyncio.sleep(600)
    await add_row(context.uow, "hierarchy", code="whole", label="Mark")
    return ActionResult(output_fingerprint="whole")


async def slow_second(context: JobContext) -> ActionResult:
    """Take a second, so that a shutdown can wait for it."""
    context.log("info", "began")
    await asyncio.sleep(1)
    await add_row(context.uow, "hierarchy", code="waited-for", label="Mark")
    return ActionResult(output_fingerprint="second")


async def publish(context: JobContext) -> ActionResult:
    """The second process of the close."""
    await add_row(context.uow, "hierarchy", code=f"published {context.business_date}", label="Mark")
    return ActionResult(output_fingerprint="published")


async def write_mark(runtime: Runtime, payload: Mapping[str, Any], _claimed: OutboxClaim) -> None:
    """An outbox job that is not idempotent, to show how often it was done."""
    async with runtime.uow(SYSTEM) as uow:
        await add_row(uow, "hierarchy", code=payload["mark"], label="Mark")


async def _main() -> None:
    settings = load_settings()
    _log_to_stderr(settings.log_format)
    stopping, hurry = _on_signals()
    actions = {"slow_once": slow_once, "slow_second": slow_second, "test.load": slow_once, "test.publish": publish}
    runtime = with_actions(await build(settings), **actions)
    quick = [replace(periodic, seconds=min(periodic.seconds, 1)) for periodic in SCHEDULE]
    timings = Timings(lease=timedelta(seconds=2), drain_seconds=3)
    try:
        await serve(
            runtime,
            stopping=stopping,
            hurry=hurry,
            handlers={**JOBS, "write_mark": write_mark},
            schedule=quick,
            timings=timings,
        )
    finally:
        await runtime.aclose()


if __name__ == "__main__":
    asyncio.run(_main())
