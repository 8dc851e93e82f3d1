"""Changes in the designer: each is one command of the workflow's editing on what its author has seen."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from starlette.datastructures import FormData
from starlette.responses import Response

from admin_views.designer import ENTITIES, address_of, show, version_page
from admin_views.designer_forms import part_model
from admin_views.designer_view import Address
from admin_views.form_endpoints import SHOWN_IN_FORM, merged, problems_of
from admin_views.form_values import Posted, given_values, read_posted
from admin_views.forms import Filling
from admin_views.pages import PageRoute
from admin_views.visit import Visit
from app.core.errors import InvalidRequest, NotFound, StaleVersion, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.entities.queries import get_record
from app.domain.workflow import editing
from app.domain.workflow.impact import publish_seen
from app.domain.workflow.structure import version_head


async def save_page(visit: Visit) -> Response:
    """Take what was typed into the editor: a new part, or changed fields of one."""
    address, form = address_of(visit), await visit.form()
    entity, id_ = _text(form, "_entity"), _text(form, "_id")
    if entity not in ENTITIES.values():
        raise InvalidRequest("The form has lost what it is about. Reload the page and repeat your change.")
    address = replace(address, item=_text(form, "_item"), tab=_text(form, "_tab") or "structure")
    model = part_model(visit.runtime.registry, entity)
    posted = read_posted(model, form)
    posted.extra = {name: value for name, value in posted.extra.items() if not name.startswith("_")}
    try:
        if id_:
            code = await _save_change(visit, entity, _uuid(id_), posted, _version(form))
        else:
            code = await _save_new(visit, address, entity, posted, _text(form, "_stage"))
    except StaleVersion:
        return await _show_conflict(
            visit, address, entity=entity, id_=_uuid(id_), posted=posted, version=_version(form)
        )
    except SHOWN_IN_FORM as error:
        filling = Filling(posted=posted, problems=problems_of(error))
        return await show(visit, address, filling=filling, status=error.status)
    kind = next(kind for kind, name in ENTITIES.items() if name == entity)
    return visit.go(address.href(item=f"{kind}.{code}"), flash="Saved." if id_ else "Added.")


async def _save_change(visit: Visit, entity: str, id_: UUID, posted: Posted, version: int) -> str:
    model = part_model(visit.runtime.registry, entity)
    async with visit.uow() as uow:
        record = (await get_record(uow, entity, id_)).records[0]
        if record["row_version"] != version:
            raise StaleVersion
        given = given_values(model, posted, visit.formats, record=record)
        if given.problems:
            raise ValidationFailed(given.problems)
        change: dict[str, Any] = {"values": given.values, "expected_version": version}
        match entity:
            case "stage":
                record = await editing.change_stage(uow, stage_id=id_, **change)
            case "process":
                record = await editing.change_process(uow, process_id=id_, **change)
            case _:
                record = await editing.change_dependency(uow, dependency_id=id_, **change)
    return str(record.get("code") or id_)


async def _save_new(visit: Visit, address: Address, entity: str, posted: Posted, stage: str) -> str:
    model = part_model(visit.runtime.registry, entity)
    given = given_values(model, posted, visit.formats, record=None)
    if given.problems:
        raise ValidationFailed(given.problems)
    async with visit.uow() as uow:
        version_id = (await version_head(uow, code=address.code, number=address.number)).id
        match entity:
            case "stage":
                parent = _uuid(stage) if stage else None
                made = await editing.add_stage(uow, version_id=version_id, values=given.values, parent_id=parent)
            case "process":
                made = await editing.add_process(uow, version_id=version_id, stage_id=_uuid(stage), values=given.values)
            case _:
                return str(await editing.add_dependency(uow, version_id=version_id, values=given.values))
        return str((await get_record(uow, entity, made)).records[0]["code"])


async def _show_conflict(
    visit: Visit, address: Address, *, entity: str, id_: UUID, posted: Posted, version: int
) -> Response:
    """Somebody else has saved the same part: show theirs and what was typed, so that saving again is deliberate."""
    async with visit.uow() as uow:
        found = await get_record(uow, entity, id_, titles=True)
        filling = await merged(visit, uow, part_model(uow.registry, entity), found, posted, expected=version)
    return await show(visit, address, filling=filling, status=StaleVersion.status)


async def change_page(visit: Visit) -> Response:
    """Move, duplicate or remove a part."""
    address, form = address_of(visit), await visit.form()
    action = visit.request.path_params["action"]
    if action not in CHANGES:
        raise NotFound("There is no such page.")
    address = replace(address, item=_text(form, "_item"), tab=_text(form, "_tab") or "structure")
    given = _Given(_text(form, "_entity"), _uuid(_text(form, "_id")), _version(form), _text(form, "stage"))
    try:
        async with visit.uow() as uow:
            item, flash = await CHANGES[action](uow, given)
    except (StaleVersion, *SHOWN_IN_FORM) as error:
        return await show(visit, address, error=error)
    return visit.go(address.href(item=address.item if item is None else item), flash=flash)


@dataclass(frozen=True, slots=True)
class _Given:
    """What a small form of the editor has sent."""

    entity: str
    id: UUID
    version: int
    stage: str


_Change = Callable[[UnitOfWork, _Given], Awaitable[tuple[str | None, str]]]


async def _up(uow: UnitOfWork, given: _Given) -> tuple[str | None, str]:
    await editing.step(uow, entity=given.entity, item_id=given.id, by=-1, expected_version=given.version)
    return None, ""


async def _down(uow: UnitOfWork, given: _Given) -> tuple[str | None, str]:
    await editing.step(uow, entity=given.entity, item_id=given.id, by=1, expected_version=given.version)
    return None, ""


async def _move(uow: UnitOfWork, given: _Given) -> tuple[str | None, str]:
    if given.entity == "stage":
        parent = _uuid(given.stage) if given.stage else None
        await editing.move_stage(uow, stage_id=given.id, parent_id=parent, expected_version=given.version)
    else:
        await editing.move_process(
            uow, process_id=given.id, stage_id=_uuid(given.stage), expected_version=given.version
        )
    return None, "Moved."


async def _duplicate(uow: UnitOfWork, given: _Given) -> tuple[str | None, str]:
    copy = await editing.duplicate_process(uow, process_id=given.id, expected_version=given.version)
    record = (await get_record(uow, "process", copy)).records[0]
    return f"process.{record['code']}", "Duplicated; the copy has no dependencies yet."


async def _remove(uow: UnitOfWork, given: _Given) -> tuple[str | None, str]:
    match given.entity:
        case "stage":
            await editing.remove_stage(uow, stage_id=given.id, expected_version=given.version)
        case "process":
            await editing.remove_process(uow, process_id=given.id, expected_version=given.version)
        case _:
            await editing.remove_dependency(uow, dependency_id=given.id, expected_version=given.version)
    return "", "Removed."


CHANGES: Mapping[str, _Change] = {
    "up": _up, "down": _down, "move": _move, "duplicate": _duplicate, "remove": _remove,
}  # fmt: skip


async def publish_page(visit: Visit) -> Response:
    """Publish the draft as it was seen."""
    address, form = address_of(visit), await visit.form()
    try:
        async with visit.uow() as uow:
            head = await version_head(uow, code=address.code, number=address.number)
            await publish_seen(
                uow, version_id=head.id, seen_digest=_text(form, "digest"), reason=_text(form, "reason")[:2_000]
            )
    except (StaleVersion, *SHOWN_IN_FORM) as error:
        return await show(visit, address, error=error)
    return visit.go(address.path, flash=f"Version {address.number} is published; the next run uses it.")


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidRequest("Choose a stage first, or reload the page and repeat your change.") from None


def _version(form: FormData) -> int:
    given = _text(form, "row_version")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else 0


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/workflows/{code}/versions/{number}", version_page),
    PageRoute("/workflows/{code}/versions/{number}/save", save_page, ("POST",)),
    PageRoute("/workflows/{code}/versions/{number}/change/{action}", change_page, ("POST",)),
    PageRoute("/workflows/{code}/versions/{number}/publish", publish_page, ("POST",)),
)
