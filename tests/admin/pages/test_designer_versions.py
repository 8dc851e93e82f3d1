"""Drafts of a workflow: begun, discarded, published, taken out and in as files."""

import re
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from app.core.actor import system_actor
from app.domain.workflow.definition_store import new_draft_from
from app.domain.workflow.runs import create_run
from tests.admin.conftest import ORIGIN
from tests.admin.pages.conftest import Site
from tests.admin.pages.designing import DRAFT, _published, form_of, part, words
from tests.service.workflow.bank import DAY


@pytest.fixture
async def draft(site: Site) -> UUID:
    """Version 2 of W is a draft of version 1: stage s1 with a, b, c; b waits for a."""
    version_id = await _published(site)
    async with site.runtime.uow(system_actor("Test")) as uow:
        return await new_draft_from(uow, version_id=version_id)


async def test_a_draft_is_published_as_it_was_seen(site: Site, draft: UUID) -> None:
    browser = await site.browser("admin")
    async with site.runtime.uow(system_actor("Test")) as uow:
        run_id = await create_run(uow, workflow="W", business_date=DAY)
    page = await browser.get(DRAFT)
    assert "1 stays on version 1" in words(page)
    assert "uses version 2" in words(page)
    digest = re.search(r'name="digest" value="([0-9a-f]{64})"', page.text)
    assert digest is not None
    sent = form_of(await browser.get(f"{DRAFT}?item=process.c"))
    await browser.post(f"{DRAFT}/save", {**sent, "label": "Later"})
    answer = await browser.post(f"{DRAFT}/publish", {"digest": digest[1], "reason": "Audit point 7"})
    assert answer.status_code == 412
    assert "The draft has changed since you looked at it" in answer.text
    seen = re.search(r'name="digest" value="([0-9a-f]{64})"', answer.text)
    assert seen is not None
    answer = await browser.post(f"{DRAFT}/publish", {"digest": seen[1], "reason": "Audit point 7"})
    assert (answer.status_code, answer.headers["location"]) == (303, DRAFT)
    listed = words(await browser.get("/workflows/W"))
    assert "Audit point 7 1 process changed: Later (label)." in listed
    async with site.runtime.uow(system_actor("Test")) as uow:
        runs = uow.table("workflow_run")
        assert await uow.scalar(select(runs.c.version_id).where(runs.c.id == run_id)) != draft


async def test_a_draft_with_errors_is_not_published(site: Site, draft: UUID) -> None:
    browser = await site.browser("admin")
    sent = form_of(await browser.get(f"{DRAFT}?item=process.b"))
    given = {**sent, "approval_levels-0-role": "preparer"}
    assert (await browser.post(f"{DRAFT}/save", given)).status_code == 303
    page = await browser.get(f"{DRAFT}?item=process.b")
    assert "maker is not checker" in words(page)
    assert "Correct the error first." in words(page)
    assert page.text.count('aria-label="Findings here"') == 1
    digest = re.search(r'name="digest" value="([0-9a-f]{64})"', page.text)
    assert digest is not None
    answer = await browser.post(f"{DRAFT}/publish", {"digest": digest[1]})
    assert answer.status_code == 422
    assert "prepared and approved by the same role" in answer.text


async def test_drafts_are_begun_and_discarded(site: Site) -> None:
    await _published(site)
    browser = await site.browser("admin")
    answer = await browser.post("/workflows/W/draft", {"number": "1"})
    assert (answer.status_code, answer.headers["location"]) == (303, DRAFT)
    answer = await browser.post("/workflows/W/draft", {"number": "1"})
    assert answer.status_code == 409
    assert "has a draft already" in answer.text
    assert (await browser.post("/workflows/W/discard", {"number": "1"})).status_code == 409
    assert (await browser.post("/workflows/W/discard", {"number": "2"})).status_code == 303
    assert (await browser.get(DRAFT)).status_code == 404
    assert (await browser.post("/workflows/W/draft")).headers["location"] == DRAFT
    assert "Nothing in it yet" in words(await browser.get(DRAFT))


async def test_a_version_goes_out_as_a_file_and_comes_in_as_a_draft(site: Site, draft: UUID) -> None:
    browser = await site.browser("admin")
    answer = await browser.post("/workflows/W/export", {"number": "1"})
    assert answer.headers["content-type"].startswith("application/yaml")
    assert "W_v1.yaml" in answer.headers["content-disposition"]
    content = answer.text.replace("label: A", "label: From a file")

    async def send(body: str, **values: str) -> httpx.Response:
        return await browser.client.post(
            "/workflows/W/import",
            data={"csrf_token": browser.token, **values},
            files={"file": ("w.yaml", body.encode(), "application/yaml")},
            headers={"accept": "text/html", "origin": ORIGIN},
        )

    answer = await send(content)
    assert answer.status_code == 409
    assert "say that the file replaces it" in answer.text
    assert (await send("workflow: [")).status_code == 400
    answer = await send(content, replace="yes")
    assert (answer.status_code, answer.headers["location"]) == (303, DRAFT)
    assert (await part(site, draft, "process", "a")).label == "From a file"
    page = words(await browser.get("/workflows/W/compare?from=1&to=2"))
    assert "From a file" in page
    assert re.search(r"Label A From a file", page)
    assert "Nothing differs" in words(await browser.get("/workflows/W/compare?from=1&to=1"))
    assert (await browser.get("/workflows/W/compare?from=1&to=8")).status_code == 404
