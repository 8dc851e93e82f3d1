"""The figures of a date: loaded, computed, rolled up and corrected, against an independent recomputation."""

import csv
import io
import zipfile
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select

from app.core.errors import Conflict, Forbidden, NotFound, ValidationFailed
from app.domain.entities.queries import ListQuery, list_records
from app.domain.entities.service import create_records
from app.domain.finance.breaches import breaches_of, comment_breach, run_threshold_tests
from app.domain.finance.facts import Fact, store_facts
from app.domain.finance.market_data import check_plan, check_rate_day, correct_rate, load_rate_day
from app.domain.finance.pnl_run import compute_books, recompute_after_correction, roll_up
from app.domain.finance.positions import load_positions
from app.domain.finance.rate_file import business_dates
from models.base import uuid7
from tests.factories import SYSTEM, World, add_row

DATES = business_dates()[-4:]
OPENING = {
    "G10-1": ("USD", "1500000"),
    "G10-2": ("GBP", "-800000.25"),
    "EM-1": ("ZAR", "33000000"),
    "EM-2": ("TRY", "7"),
}
TRADES = [
    (1, "G10-1", "USD", "250000", "1.1012"),
    (1, "G10-1", "JPY", "-91000000", "171.5"),
    (2, "EM-1", "ZAR", "-1000000.5", "19.87"),
    (2, "G10-2", "GBP", "123456.78", "0.861234"),
]


def _ecb() -> dict[date, dict[str, Fraction]]:
    """The rate file read by other means: a zip of CSV, one row a date."""
    folder = files("currency_converter")
    name = next(item for item in folder.iterdir() if item.name.endswith(".zip"))
    with zipfile.ZipFile(io.BytesIO(name.read_bytes())) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    rows = csv.DictReader(io.StringIO(text))
    return {
        date.fromisoformat(row["Date"]): {
            c: Fraction(v) for c, v in row.items() if c and c != "Date" and v and v.strip() not in ("", "N/A")
        }
        for row in rows
    }


def _rounded(value: Fraction) -> Decimal:
    scaled = value * 10**18
    whole, rest = divmod(scaled.numerator, scaled.denominator)
    twice = 2 * rest
    up = twice > scaled.denominator or (twice == scaled.denominator and whole % 2 == 1)
    return Decimal(whole + up).scaleb(-18)


@pytest.fixture
async def bank(world: World) -> World:
    async with world.runtime.uow(SYSTEM) as uow:
        stamp: Mapping[str, Any] = {"created_at": uow.now, "updated_at": uow.now}
        rows = [
            {
                "id": uuid7(),
                "business_date": DATES[0],
                "book_id": world.nodes[book],
                "currency": currency,
                "opening": 0,
                "traded": 0,
                "closing": Decimal(quantity),
                "version": 1,
                "current": True,
                **stamp,
            }
            for book, (currency, quantity) in OPENING.items()
        ]
        await uow.execute(insert(uow.table("position")), rows)
        for day in DATES[:3]:
            await load_rate_day(uow, day)
        trades = [
            {
                "book": str(world.nodes[book]),
                "trade_date": DATES[offset].isoformat(),
                "currency": currency,
                "quantity": quantity,
                "rate": rate,
            }
            for offset, book, currency, quantity, rate in TRADES
        ]
        await create_records(uow, "trade", trades)
    return world


async def _close(world: World, day: date) -> None:
    async with world.runtime.uow(SYSTEM) as uow:
        await load_positions(uow, day)
        await compute_books(uow, day)
        await roll_up(uow, day, ["DESK"])


async def _facts(world: World, day: date, source: str, measure: str = "actual") -> dict[str, Decimal]:
    wanted = {"business_date": day.isoformat(), "source": source, "measure": measure, "current": True}
    async with world.runtime.uow(world.actor("auditor", application="PLATFORM")) as uow:
        page = await list_records(uow, "pnl_fact", ListQuery(filter=wanted, limit=1000, titles=True))
    totals: dict[str, Decimal] = {}
    for record, titles in zip(page.records, page.titles, strict=True):
        totals[str(titles["book"]).upper()] = record["value"]
    return totals


async def test_pnl_of_every_book_equals_an_independent_recomputation_to_the_last_digit(bank: World) -> None:
    ecb = _ecb()
    holding = {(book, currency): Fraction(quantity) for book, (currency, quantity) in OPENING.items()}
    for offset in (1, 2):
        day, before = DATES[offset], DATES[offset - 1]
        await _close(bank, day)
        expected: dict[str, Decimal] = {}
        flows: dict[tuple[str, str], list[tuple[Fraction, Fraction]]] = {}
        for traded, book, currency, quantity, rate in TRADES:
            if traded == offset:
                flows.setdefault((book, currency), []).append((Fraction(quantity), Fraction(rate)))
        for book, currency in sorted({*holding, *flows}):
            opening, r, p = holding.get((book, currency), Fraction(0)), ecb[day][currency], ecb[before][currency]
            exact = (
                opening / r
                - opening / p
                + sum((q / r - q / t for q, t in flows.get((book, currency), [])), Fraction(0))
            )
            expected[book] = expected.get(book, Decimal(0)) + _rounded(exact)
            holding[book, currency] = opening + sum((q for q, _ in flows.get((book, currency), [])), Fraction(0))
        assert await _facts(bank, day, "book") == expected
        rolled = await _facts(bank, day, "rollup")
        assert rolled["FX"] == sum(expected.values())
        assert rolled["G10"] == expected["G10-1"] + expected["G10-2"]


async def test_loading_and_computing_again_writes_nothing(bank: World) -> None:
    await _close(bank, DATES[1])
    async with bank.runtime.uow(SYSTEM) as uow:
        again = await load_rate_day(uow, DATES[1])
        positions = await load_positions(uow, DATES[1])
        computed = await compute_books(uow, DATES[1])
    assert (again.loaded, positions.changed) == (False, 0)
    assert (computed.stored.new, computed.stored.corrected) == (0, 0)
    assert computed.stored.unchanged > 0


async def test_a_corrected_rate_makes_new_versions_and_the_old_ones_stay_readable(bank: World) -> None:
    for offset in (1, 2):
        await _close(bank, DATES[offset])
    before = await _facts(bank, DATES[1], "book")
    controller = bank.actor("controller")
    async with bank.runtime.uow(controller) as uow:
        await correct_rate(uow, business_date=DATES[1], currency="USD", value=Decimal("1.2"), reason="Misquoted")
    async with bank.runtime.uow(SYSTEM) as uow:
        changed = await recompute_after_correction(uow, DATES[1])
    assert changed[DATES[1]] > 0
    assert changed[DATES[2]] > 0, "the next date starts from the corrected rate"
    after = await _facts(bank, DATES[1], "book")
    assert after["G10-1"] != before["G10-1"]
    assert after["EM-1"] == before["EM-1"]
    async with bank.runtime.uow(controller) as uow:
        wanted = {
            "business_date": DATES[1].isoformat(),
            "book": str(bank.nodes["G10-1"]),
            "source": "book",
            "measure": "actual",
        }
        page = await list_records(uow, "pnl_fact", ListQuery(filter=wanted, sort="version"))
        versions = [(r["version"], r["current"], r["value"]) for r in page.records]
        rates = await list_records(
            uow,
            "market_rate",
            ListQuery(filter={"business_date": DATES[1].isoformat(), "currency": "USD"}, sort="version"),
        )
    assert versions == [(1, False, before["G10-1"]), (2, True, after["G10-1"])]
    assert [(r["version"], r["current"]) for r in rates.records] == [(1, False), (2, True)]


async def test_a_correction_needs_a_reason_a_known_rate_and_somebody_who_may(bank: World) -> None:
    async with bank.runtime.uow(bank.actor("controller")) as uow:
        with pytest.raises(ValidationFailed, match="say why"):
            await correct_rate(uow, business_date=DATES[1], currency="USD", value=Decimal("1.2"), reason=" ")
        with pytest.raises(NotFound):
            await correct_rate(uow, business_date=DATES[3], currency="USD", value=Decimal("1.2"), reason="x")
    async with bank.runtime.uow(bank.actor("auditor")) as uow:
        with pytest.raises(Forbidden):
            await correct_rate(uow, business_date=DATES[1], currency="USD", value=Decimal("1.2"), reason="x")


async def test_without_rates_of_the_date_nothing_is_computed(bank: World) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        with pytest.raises(Conflict, match="no rates"):
            await compute_books(uow, DATES[3])


async def test_a_missing_expected_currency_is_a_finding(bank: World) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        findings = await check_rate_day(uow, DATES[2], check_plan({"expected": ["USD", "XXX"]}))
        rates = uow.table("market_rate")
        quality = await uow.scalar(
            select(rates.c.quality).where(rates.c.business_date == DATES[2], rates.c.currency == "USD")
        )
    assert [(f.currency, f.flag.value) for f in findings] == [("XXX", "missing")]
    assert quality == "ok"


async def _breach(bank: World) -> UUID:
    async with bank.runtime.uow(SYSTEM) as uow:
        await add_row(
            uow,
            "pnl_threshold",
            label="G10",
            node_id=bank.nodes["G10"],
            measure="actual",
            absolute_limit=Decimal("0.01"),
        )
        found = await run_threshold_tests(uow, DATES[1], node_id=bank.nodes["FX"], run_id=None)
        assert [b.node for b in found] == ["G10"]
        return UUID(str((await breaches_of(uow, DATES[1], None))[0]["id"]))


async def test_a_breach_is_commented_once_and_reopened_when_its_figure_changes(bank: World) -> None:
    await _close(bank, DATES[1])
    breach = await _breach(bank)
    preparer = await bank.stored_actor("preparer", node="G10")
    words = "The dollar fell against the euro and the open position was revalued."
    async with bank.runtime.uow(preparer) as uow:
        with pytest.raises(ValidationFailed, match="9 of at least 40"):
            await comment_breach(uow, breach, root_cause="market_move", commentary="too short", expected_version=1)
        await comment_breach(uow, breach, root_cause="market_move", commentary=words, expected_version=1)
    async with bank.runtime.uow(SYSTEM) as uow:
        await run_threshold_tests(uow, DATES[1], node_id=bank.nodes["FX"], run_id=None)
        assert [b["state"] for b in await breaches_of(uow, DATES[1], None)] == ["commented"]
        await store_facts(uow, DATES[1], [Fact(bank.nodes["G10"], "actual", "EUR", "rollup", Decimal(999))])
        await run_threshold_tests(uow, DATES[1], node_id=bank.nodes["FX"], run_id=None)
        assert [b["state"] for b in await breaches_of(uow, DATES[1], None)] == ["open"]


async def test_a_breach_of_another_desk_cannot_be_commented_or_found(bank: World) -> None:
    await _close(bank, DATES[1])
    breach = await _breach(bank)
    async with bank.runtime.uow(bank.actor("preparer", node="EM")) as uow:
        with pytest.raises(NotFound):
            await comment_breach(uow, breach, root_cause="other", commentary="x" * 50, expected_version=1)


def test_the_sample_dates_are_business_days_in_a_row() -> None:
    assert all(timedelta(0) < later - earlier <= timedelta(5) for earlier, later in pairwise(DATES))
