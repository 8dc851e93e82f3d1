"""The automatic processes of the PnL close: what `action:` in a workflow definition can name.

Each runs in one transaction with the completion of its process, is safe to repeat, and returns a fingerprint of what it
produced, so that the same output again changes nothing downstream.
"""

import hashlib
from collections.abc import Mapping

from sqlalchemy import select, text

from app.core.audit import AuditEntry
from app.core.errors import Conflict
from app.domain.finance.breaches import run_threshold_tests
from app.domain.finance.market_data import check_plan, check_rate_day, current_rates, load_rate_day
from app.domain.finance.pnl_run import BOOK_HIERARCHY, compute_books, roll_up
from app.domain.finance.positions import load_positions
from app.domain.finance.rate_checks import RateFlag
from app.domain.jobs.context import Action, ActionResult, JobContext
from app.domain.jobs.job_log import Level

RATE_CHECK_PARAMETER = "finance.rate_checks"


async def load_rates_action(ctx: JobContext) -> ActionResult:
    """Load the day's rates from the rate file (parameter `path`; without one, the ECB file of the package)."""
    source = str(ctx.parameters.get("source", "ECB"))
    ctx.log(Level.INFO, f"Reading the {source} rates of {ctx.business_date.isoformat()}")
    loaded = await load_rate_day(
        ctx.uow, ctx.business_date, source=source, path=ctx.parameters.get("path"), job_run_id=ctx.job_run_id
    )
    what = f"{loaded.rows} rates, {len(loaded.changed)} new" if loaded.loaded else "this content was loaded before"
    ctx.log(Level.INFO, f"{what}; content {loaded.content_hash[:12]}")
    if loaded.not_quoted:
        ctx.log(Level.INFO, f"Not quoted on this date: {', '.join(loaded.not_quoted)}")
    return ActionResult(
        output_fingerprint=loaded.content_hash,
        summary={"rows": loaded.rows, "new": len(loaded.changed), "content_hash": loaded.content_hash},
    )


async def check_rates_action(ctx: JobContext) -> ActionResult:
    """Check the day's rates: missing, stale, outlier. A missing expected currency fails the process."""
    source = str(ctx.parameters.get("source", "ECB"))
    parameters = ctx.uow.table("parameter")
    plan = check_plan(await ctx.uow.scalar(select(parameters.c.value).where(parameters.c.code == RATE_CHECK_PARAMETER)))
    findings = await check_rate_day(ctx.uow, ctx.business_date, plan, source)
    for finding in findings:
        ctx.log(Level.WARNING, finding.explanation)
    missing = [finding.currency for finding in findings if finding.flag is RateFlag.MISSING]
    if missing:
        raise Conflict(
            f"Rates are missing: {', '.join(missing)}. Load them or correct the list of expected currencies."
        )
    rates = await current_rates(ctx.uow, ctx.business_date, source)
    flags = sorted(f"{finding.flag.value}:{finding.currency}" for finding in findings)
    ctx.log(Level.INFO, f"{len(rates) - 1} rates checked, {len(findings)} findings")
    content = "|".join([*flags, *(f"{currency}={rate}" for currency, rate in sorted(rates.items()))])
    return ActionResult(
        output_fingerprint=hashlib.sha256(content.encode()).hexdigest(),
        summary={"checked": len(rates) - 1, "findings": flags},
    )


async def load_positions_action(ctx: JobContext) -> ActionResult:
    """Compute the positions of the date out of the evening before and the day's trades."""
    loaded = await load_positions(ctx.uow, ctx.business_date)
    if not loaded.positions:
        raise Conflict("No book has a position or a trade; load the opening positions first.")
    ctx.log(Level.INFO, f"{loaded.positions} positions in {loaded.books} books out of {loaded.trades} trades")
    return ActionResult(
        output_fingerprint=loaded.fingerprint,
        summary={"positions": loaded.positions, "books": loaded.books, "trades": loaded.trades},
    )


async def compute_pnl_action(ctx: JobContext) -> ActionResult:
    """Compute the PnL of every book below the node of the process."""
    await ctx.check_cancelled()
    computed = await compute_books(
        ctx.uow,
        ctx.business_date,
        node_id=ctx.node_id,
        run_id=ctx.run["id"] if ctx.run else None,
        job_run_id=ctx.job_run_id,
    )
    stored = computed.stored
    ctx.log(Level.INFO, f"{computed.books} books, {computed.positions} positions")
    ctx.log(Level.INFO, f"{stored.new} new figures, {stored.corrected} corrected, {stored.unchanged} unchanged")
    return ActionResult(
        output_fingerprint=stored.fingerprint,
        summary={"books": computed.books, "new": stored.new, "corrected": stored.corrected},
    )


async def roll_up_action(ctx: JobContext) -> ActionResult:
    """Sum the books along the hierarchies that the parameter `hierarchies` names."""
    hierarchies = [str(code) for code in ctx.parameters.get("hierarchies", [BOOK_HIERARCHY])]
    stored = await roll_up(
        ctx.uow,
        ctx.business_date,
        hierarchies,
        run_id=ctx.run["id"] if ctx.run else None,
        job_run_id=ctx.job_run_id,
    )
    ctx.log(Level.INFO, f"{stored.new} new figures, {stored.corrected} corrected along {', '.join(hierarchies)}")
    return ActionResult(
        output_fingerprint=stored.fingerprint, summary={"new": stored.new, "corrected": stored.corrected}
    )


async def test_thresholds_action(ctx: JobContext) -> ActionResult:
    """Test the thresholds at and below the node; each breach then needs a commentary."""
    found = await run_threshold_tests(
        ctx.uow, ctx.business_date, node_id=ctx.node_id, run_id=ctx.run["id"] if ctx.run else None
    )
    for breach in found:
        ctx.log(Level.WARNING, breach.text)
    ctx.log(Level.INFO, f"{len(found)} breaches")
    content = "\n".join(sorted(f"{b.threshold}|{b.value}" for b in found))
    return ActionResult(
        output_fingerprint=hashlib.sha256(content.encode()).hexdigest(), summary={"breaches": len(found)}
    )


_PUBLISHED = text(
    """
SELECT count(*) AS figures, encode(sha256(coalesce(string_agg(
           f.book_id || '|' || f.measure || '|' || f.currency || '|' || f.source || '|' || f.version || '|' || f.value,
           ',' ORDER BY f.book_id, f.measure, f.currency, f.source), '')::bytea), 'hex') AS hash
FROM pnl_fact f WHERE f.business_date = :business_date AND f.current
"""
)


async def publish_action(ctx: JobContext) -> ActionResult:
    """Seal the figures of the date: the audit trail keeps the hash of exactly what was published."""
    found = (await ctx.uow.execute(_PUBLISHED, {"business_date": ctx.business_date})).one()
    if not found.figures:
        raise Conflict("There are no figures to publish.")
    ctx.uow.audit(
        AuditEntry(
            command="pnl.publish",
            entity="workflow_run",
            record_id=ctx.run["id"] if ctx.run else None,
            after={"figures": found.figures, "hash": found.hash},
            context={"business_date": ctx.business_date},
        )
    )
    ctx.log(Level.INFO, f"{found.figures} figures published, hash {found.hash[:12]}")
    return ActionResult(output_fingerprint=found.hash, summary={"figures": found.figures, "hash": found.hash})


ACTIONS: Mapping[str, Action] = {
    "finance.load_rates": load_rates_action,
    "finance.check_rates": check_rates_action,
    "finance.load_positions": load_positions_action,
    "finance.compute_pnl": compute_pnl_action,
    "finance.roll_up": roll_up_action,
    "finance.test_thresholds": test_thresholds_action,
    "finance.publish": publish_action,
}
