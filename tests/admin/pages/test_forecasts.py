"""Forecasts on Home, the list of runs, the page of a run and that of a process."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.domain.prediction.keeping import refresh_forecast
from tests.admin.pages.conftest import Site
from tests.factories import SYSTEM
from tests.service.workflow.bank import DAY, manual

LATER = "BD+999 18:00 Europe/Berlin"


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.fixture(autouse=True)
async def run(site: Site) -> None:
    """A run that is due in some years, of which only the expected minutes are known."""
    processes = [manual(code, expected_minutes=30, deadline=LATER) for code in ("prepare", "check")]
    await site.bank.run(processes, [("prepare", "check")])


async def forecast(site: Site, *, late: bool = False) -> str:
    """Forecast it; `late`: it was due a minute ago."""
    assert site.bank.run_id is not None
    async with site.runtime.uow(SYSTEM) as uow:
        if late:
            due = {"due": uow.now + timedelta(minutes=1)}
            for table in ("workflow_run", "process_run", "stage_run"):
                await uow.execute(text(f"UPDATE {table} SET due_at = :due"), due)
        await refresh_forecast(uow, run_id=site.bank.run_id)
    return f"/runs/{site.bank.run_id}"


async def test_a_run_shows_when_it_will_be_finished_and_its_critical_path(site: Site) -> None:
    page = await forecast(site)
    shown = (await (await site.browser("preparer")).get(page)).text
    words = _text(shown)
    assert "Predicted finish" in words
    assert "From expected minutes: there are no earlier runs" in words
    assert "Everything goes about as usual." in words
    assert re.search(r"P\(miss [^)]+\) 0\.00", words)
    assert shown.count("ti-route crit") >= 3  # two rows and the legend
    assert "expected" in words


async def test_a_likely_miss_is_marked_wherever_the_work_is_listed(site: Site) -> None:
    page = await forecast(site, late=True)
    browser = await site.browser("preparer")
    run_page = (await browser.get(page)).text
    assert re.search(r'class="fig pm late">(1\.00|0\.9\d)', run_page)
    assert "the work that is left usually takes until" in _text(run_page)
    path, _ = await site.process("check")
    assert re.search(r"Predicted [\d :A-Za-z]+, P\(miss\) (1\.00|0\.9\d)", _text((await browser.get(path)).text))
    assert 'class="pm late"' in (await browser.get("/")).text
    assert 'class="pm late"' in (await browser.get("/runs")).text


async def test_an_old_forecast_is_not_shown_as_if_it_held(site: Site) -> None:
    page = await forecast(site, late=True)
    async with site.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE run_forecast SET computed_at = computed_at - interval '11 minutes'"))
    browser = await site.browser("preparer")
    words = _text((await browser.get(page)).text)
    assert "is out of date" in words
    assert "Predicted finish" not in words
    assert 'class="pm late"' not in (await browser.get("/")).text
    path, _ = await site.process("check")
    assert "P(miss)" not in (await browser.get(path)).text


async def test_a_run_without_a_forecast_looks_as_it_did(site: Site) -> None:
    words = _text((await (await site.browser("preparer")).get(f"/runs/{site.bank.run_id}")).text)
    assert "Next due" in words
    assert "Predicted" not in words
    assert str(DAY.year) in words
