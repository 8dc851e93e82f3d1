"""The sample bank: loaded through the services, its days run by the engine, its figures recomputed by other means."""

import csv
from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from sqlalchemy import select, text

from app.bootstrap import build
from app.core.errors import Forbidden
from app.core.settings import SettingsError
from app.demo.loader import load_demo
from app.demo.package import FOLDER, DemoPackage
from app.domain.schedules.service import create_due_runs
from models.registry import Registry
from tests.conftest import test_settings as settings_in
from tests.factories import SYSTEM
from tests.service.finance.test_close import _ecb, _rounded

DAYS = 2


def _rows(file: str) -> list[dict[str, str]]:
    with (FOLDER / file).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _expected(package: DemoPackage) -> Mapping[tuple[date, str], Decimal]:
    """Actual PnL by date and book from the two CSV files and the ECB file alone, in fractions."""
    ecb = _ecb()
    days = [package.date_of(offset) for offset in range(-75, 1)]
    holding: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for row in _rows("positions.csv"):
        holding[row["book"], row["currency"]] += Fraction(row["quantity"])
    trades: dict[int, list[dict[str, str]]] = defaultdict(list)
    for row in _rows("trades.csv"):
        trades[int(row["day_offset"])].append(row)
    result: dict[tuple[date, str], Decimal] = defaultdict(Decimal)
    for number, day in enumerate(days[1:], start=1):
        before = days[number - 1]
        flows: dict[tuple[str, str], list[tuple[Fraction, Fraction]]] = defaultdict(list)
        for row in trades[number - 75]:
            quantity = Fraction(row["quantity"]) * (1 if row["side"] == "buy" else -1)
            exact = ecb[day][row["currency"]] * (1 + Fraction(row["spread_bp"]) / 10_000)
            whole = round(exact * 10**6)  # half to even, as the package says
            flows[row["book"], row["currency"]].append((quantity, Fraction(whole, 10**6)))
        for book, currency in {*holding, *flows}:
            now, then = ecb[day][currency], ecb[before][currency]
            value = holding[book, currency] * (1 / now - 1 / then)
            value += sum((q / now - q / rate for q, rate in flows[book, currency]), Fraction(0))
            result[day, book] += _rounded(value)
            holding[book, currency] += sum((q for q, _ in flows[book, currency]), Fraction(0))
    return result


async def test_every_book_of_every_run_day_equals_a_recomputation_from_the_files(
    database_url: str, registry: Registry, tmp_path: Path
) -> None:
    settings = settings_in(tmp_path, database_url=database_url, demo=True, demo_password="a-demo-password")
    package = DemoPackage(history_days=DAYS)
    assert await load_demo(settings, package=package) is True
    assert await load_demo(settings, package=package) is False
    runtime = await build(settings, registry=registry)
    try:
        async with runtime.uow(SYSTEM) as uow:
            facts, nodes, runs = uow.table("pnl_fact"), uow.table("hierarchy_node"), uow.table("workflow_run")
            found = await uow.execute(
                select(facts.c.business_date, nodes.c.code, facts.c.value)
                .join(nodes, nodes.c.id == facts.c.book_id)
                .where(facts.c.source == "book", facts.c.measure == "actual", facts.c.current)
            )
            stored = {(row.business_date, row.code): row.value for row in found}
            states = (await uow.execute(select(runs.c.state).order_by(runs.c.business_date))).scalars().all()
            log = "SELECT count(*) FROM process_transition t JOIN process_run p ON p.id = t.process_run_id"
            steps = await uow.scalar(text(f"{log} WHERE p.state = 'done'"))
            closed = await uow.scalar(text("SELECT count(*) FROM process_run WHERE state = 'done'"))
            clock = await uow.scalar(text("SELECT steps_now()"))
            next_due_at = await uow.scalar(text("SELECT next_due_at FROM schedule"))
        assert await create_due_runs(runtime) == 0
        assert await create_due_runs(runtime, now=next_due_at) == 1
        async with runtime.uow(SYSTEM) as uow:
            latest = await uow.scalar(text("SELECT max(business_date) FROM workflow_run"))
            graded = (await uow.execute(text("SELECT DISTINCT severity FROM breach"))).scalars().all()
            decided = await uow.scalar(text("SELECT count(DISTINCT record_id) FROM rule_evaluation"))
    finally:
        await runtime.aclose()
    days = [package.date_of(offset) for offset in range(-DAYS, 0)]
    expected = _expected(package)
    assert {key: expected[key] for key in stored} == stored
    assert {day for day, _ in stored} == set(days)
    assert len(stored) == DAYS * 14
    assert list(states) == ["done"] * DAYS + ["active"]
    assert steps >= 2 * closed, "each end state was reached by transitions"
    assert clock.date() == package.today
    assert latest > package.today, "the next business day's run is created by the schedule"
    assert (next_due_at.date(), latest.weekday() < 5) == (latest, True)
    assert set(graded) <= {"low", "medium", "high", "critical"}
    assert decided == len(package.thresholds())


async def test_outside_demo_mode_the_demo_and_its_clock_are_refused(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(Forbidden, match="demo mode only"):
        await load_demo(settings_in(tmp_path, database_url=database_url))


async def test_a_shifted_clock_is_refused_outside_demo_mode(
    database_url: str, tmp_path: Path, registry: Registry
) -> None:
    runtime = await build(settings_in(tmp_path, database_url=database_url, demo=True), registry=registry)
    async with runtime.uow(SYSTEM) as uow:
        await uow.execute(text("INSERT INTO demo_clock (shift, set_at) VALUES ('-3 days', now())"))
    await runtime.aclose()
    with pytest.raises(SettingsError, match="shifted clock of a demo"):
        await build(settings_in(tmp_path, database_url=database_url), registry=registry)


async def test_a_demo_that_was_broken_off_is_not_taken_up(database_url: str, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, database_url=database_url, demo=True, demo_password="a-demo-password")

    def break_off(step: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await load_demo(settings, break_off)
    with pytest.raises(SettingsError, match="broken off while it loaded"):
        await load_demo(settings)
