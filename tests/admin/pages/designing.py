"""The designer as the tests use it: its forms, its words, and the draft they change."""

import re
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import select

from app.core.actor import system_actor
from app.domain.workflow.definition_reading import read_definition
from app.domain.workflow.definitions import WorkflowDefinition
from tests.admin.conftest import Browser
from tests.admin.pages.conftest import Site
from tests.service.workflow.bank import manual, reviewed

DRAFT = "/workflows/W/versions/2"


class Inputs(HTMLParser):
    """What the form with this id would send as it came."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.inside, self.select, self.area = form, False, "", ""
        self.sent: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.inside = given.get("id") == self.form
        if not self.inside or "__i__" in given.get("name", ""):
            return
        if tag == "input" and given.get("type") not in ("checkbox", "radio", "file"):
            self.sent[given.get("name", "")] = given.get("value", "")
        if tag == "input" and given.get("type") in ("checkbox", "radio") and "checked" in given:
            self.sent[given["name"]] = given.get("value", "")
        if tag == "select":
            self.select = given.get("name", "")
            self.sent.setdefault(self.select, "")
        if tag == "option" and "selected" in given:
            self.sent[self.select] = given.get("value", "")
        if tag == "textarea":
            self.area = given.get("name", "")
            self.sent[self.area] = ""

    def handle_data(self, data: str) -> None:
        if self.inside and self.area:
            self.sent[self.area] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self.area = ""
        if tag == "form":
            self.inside = False


def form_of(answer: httpx.Response, form: str = "record-form") -> dict[str, str]:
    parser = Inputs(form)
    parser.feed(answer.text)
    return {name: value for name, value in parser.sent.items() if name and name != "csrf_token"}


def words(answer: httpx.Response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


async def _published(site: Site) -> UUID:
    return await site.bank.publish([manual("a"), reviewed("b"), manual("c")], [("a", "b")])


async def definition(site: Site, version_id: UUID) -> WorkflowDefinition:
    async with site.runtime.uow(system_actor("Test")) as uow:
        return await read_definition(uow, version_id)


async def outline(site: Site, version_id: UUID) -> list[str]:
    found = await definition(site, version_id)
    return [line for stage, _ in found.walk() for line in (stage.code, *(f"-{p.code}" for p in stage.processes))]


async def part(site: Site, version_id: UUID, entity: str, code: str) -> Any:
    async with site.runtime.uow(system_actor("Test")) as uow:
        table = uow.table(entity)
        return (await uow.execute(select(table).where(table.c.version_id == version_id, table.c.code == code))).one()


async def press(browser: Browser, action: str, entity: str, row: Any, **values: str) -> httpx.Response:
    item = f"{entity}.{row.code}" if entity != "process_dependency" else f"edge.{row.id}"
    given = {"_entity": entity, "_id": str(row.id), "_item": item, "row_version": str(row.row_version)}
    return await browser.post(f"{DRAFT}/change/{action}", {**given, **values})


# -- looking -----------------------------------------------------------------------------------------------------------
