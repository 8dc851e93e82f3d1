"""Hierarchies: the tree as of a date, changes from a date on, comparison, import with a preview, export."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app.core.actor import system_actor
from app.domain.hierarchy.service import add_node, create_hierarchy
from tests.admin.conftest import ORIGIN, Browser
from tests.admin.pages.conftest import Site
from tests.admin.pages.test_process import text_of

FILE = "code,parent_code,label,kind\nM,,Markets,division\nFX,M,Foreign exchange,business\nRATES,M,Rates,business\n"


@pytest.fixture
async def books(site: Site) -> dict[str, UUID]:
    """Markets > FX, in force since long ago."""
    async with site.runtime.uow(system_actor("Test")) as uow:
        long_ago = uow.now.date() - timedelta(days=400)
        await create_hierarchy(uow, code="BOOKS", label="Books")
        top = await add_node(
            uow, hierarchy_code="BOOKS", code="M", label="Markets", effective=long_ago, reason="Begin",
            attributes={"kind": "division"},
        )  # fmt: skip
        below = await add_node(
            uow, hierarchy_code="BOOKS", code="FX", label="FX", parent_id=top, effective=long_ago, reason="Begin",
            attributes={"kind": "business", "cost_centre": "40100"},
        )  # fmt: skip
    return {"M": top, "FX": below}


async def _change(site: Site, browser: Browser, action: str, node: UUID | None = None, **values: Any) -> httpx.Response:
    given = {name: str(value) for name, value in values.items()}
    if node is not None:
        async with site.runtime.uow(system_actor("Test")) as uow:
            statement = text("SELECT code, row_version FROM hierarchy_node WHERE id = :id")
            row = (await uow.execute(statement, {"id": node})).one()
        given = {"node": row.code, "version": str(row.row_version), **given}
    return await browser.post(f"/hierarchies/BOOKS/change/{action}", given)


async def _upload(browser: Browser, content: str, **values: str) -> httpx.Response:
    return await browser.client.post(
        "/hierarchies/BOOKS/import",
        data={"csrf_token": browser.token, **values},
        files={"file": ("books.csv", content.encode(), "text/csv")},
        headers={"accept": "text/html", "origin": ORIGIN},
    )


async def test_the_tree_and_a_node_are_shown_as_of_a_date(site: Site, books: dict[str, UUID]) -> None:
    admin = await site.browser("admin")
    today = site.runtime.clock.now().date()
    assert (await _change(site, admin, "rename", books["FX"], label="Foreign exchange")).status_code == 303
    now = text_of(await admin.get("/hierarchies/BOOKS?node=FX"))
    assert "2 nodes, 2 levels" in now
    assert "Foreign exchange FX" in now
    assert "Cost centre 40100" in now
    before = text_of(await admin.get(f"/hierarchies/BOOKS?as_of={today - timedelta(days=10)}&node=FX"))
    assert "Foreign exchange FX" not in before.split("Where used")[0].split("Attributes on")[0]
    compared = text_of(await admin.get(f"/hierarchies/BOOKS?compare={today - timedelta(days=10)}"))
    assert "1 renamed" in compared
    assert "Was FX" in compared
    assert "No node is in force" in text_of(await admin.get("/hierarchies/BOOKS?as_of=1990-01-01"))


async def test_only_who_looks_after_the_tree_sees_its_actions(site: Site, books: dict[str, UUID]) -> None:
    preparer = await site.browser("preparer")
    page = text_of(await preparer.get("/hierarchies/BOOKS?node=FX"))
    assert "Rename" not in page
    assert "Import" not in page
    assert (await _change(site, preparer, "rename", books["FX"], label="Mine")).status_code == 403


async def test_a_change_that_is_refused_opens_its_dialog_again_with_what_was_typed(
    site: Site, books: dict[str, UUID]
) -> None:
    admin = await site.browser("admin")
    ring = await _change(site, admin, "move", books["M"], parent="FX", reason="Try")
    assert ring.status_code == 409
    assert 'id="do-move" aria-labelledby="do-move-t" data-open' in ring.text
    unknown = await _change(site, admin, "move", books["FX"], parent="NOWHERE")
    assert unknown.status_code == 422
    assert "There is no node 'NOWHERE'" in text_of(unknown)
    used = await _change(site, admin, "retire", books["M"], reason="Not needed")
    assert used.status_code == 409
    assert "FX" in text_of(used)


async def test_a_node_is_added_moved_and_retired(site: Site, books: dict[str, UUID]) -> None:
    admin = await site.browser("admin")
    assert (await _change(site, admin, "add", code="EM", label="EM FX", parent="FX", kind="desk")).status_code == 303
    page = text_of(await admin.get("/hierarchies/BOOKS?node=EM"))
    assert "3 nodes, 3 levels" in page
    assert (await _change(site, admin, "attributes", books["FX"], **{"attribute.cost_centre": "1"})).status_code == 303
    assert "Cost centre 1 " in text_of(await admin.get("/hierarchies/BOOKS?node=FX"))
    missing = await _change(site, admin, "add", code="", label="")
    assert missing.status_code == 422
    assert (await _change(site, admin, "explode", books["FX"])).status_code == 404


async def test_an_import_shows_what_it_changes_before_it_writes(site: Site, books: dict[str, UUID]) -> None:
    admin = await site.browser("admin")
    preview = await _upload(admin, FILE)
    shown = text_of(preview)
    assert "Renamed FX FX → Foreign exchange" in shown
    assert "Added RATES Rates, below M" in shown
    assert "Foreign exchange" not in text_of(await admin.get("/hierarchies/BOOKS"))
    basis = preview.text.split('name="basis" value="')[1].split('"')[0]
    stale = {"confirm": "yes", "basis": "0.0", "content": FILE}
    assert (await admin.post("/hierarchies/BOOKS/import", stale)).status_code == 412
    done = await admin.post("/hierarchies/BOOKS/import", {"confirm": "yes", "basis": basis, "content": FILE})
    assert done.status_code == 303
    assert "Foreign exchange" in text_of(await admin.get("/hierarchies/BOOKS"))
    again = await _upload(admin, FILE)
    assert "Nothing changes" in text_of(again)


async def test_an_import_names_each_line_that_is_wrong(site: Site, books: dict[str, UUID]) -> None:
    admin = await site.browser("admin")
    wrong = await _upload(admin, "code,parent_code,label\nA,GONE,Above is missing\n")
    assert wrong.status_code == 422
    assert "Line 2:" in text_of(wrong)
    assert "Import</button>" not in wrong.text
    headless = await _upload(admin, "name\nA\n")
    assert headless.status_code == 400
    assert "code, parent_code, label is missing" in text_of(headless)


async def test_an_export_is_what_the_import_reads(site: Site, books: dict[str, UUID]) -> None:
    admin = await site.browser("admin")
    file = await admin.post("/hierarchies/BOOKS/export")
    assert file.headers["content-type"].startswith("text/csv")
    assert "Nothing changes" in text_of(await _upload(admin, file.content.decode("utf-8-sig")))
    assert (await admin.get("/hierarchies/BOOKS/export")).status_code == 405


async def test_dates_and_trees_that_do_not_exist_are_answered_in_words(site: Site, books: dict[str, UUID]) -> None:
    admin = await site.browser("admin")
    assert (await admin.get("/hierarchies/BOOKS?as_of=31.10.2026")).status_code == 422
    assert (await admin.get("/hierarchies/NONE")).status_code == 404
    assert (await admin.get("/hierarchies/BOOKS?node=NONE")).status_code == 404
    assert (await admin.get("/hierarchies/BOOKS?as_of=9999-12-31&node=FX")).status_code == 200
    assert (await admin.get("/hierarchies")).status_code == 303
