"""Switching something that works by itself off and on again, with one button: schedules and triggers."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from starlette.responses import Response

from admin_views.visit import Endpoint, Visit, record_id
from app.core.errors import InvalidRequest, NotFound, StepsError, Unauthenticated
from app.domain.entities.service import update_record

Show = Callable[[Visit, UUID, StepsError | None], Awaitable[Response]]


def switch_action(visit: Visit, row: Mapping[Any, Any], entity: str, href: str, *, off: str, on: str) -> dict[str, Any]:
    """The action of macros.action_button, with its `fields`. `off` and `on` say what follows from it."""
    label = visit.runtime.registry.entity(entity).label.lower()
    active = bool(row["active"])
    return {
        "name": "switch",
        "label": "Switch off" if active else "Switch on",
        "icon": "player-pause" if active else "player-play",
        "href": f"{href}/{row['id']}/active",
        "allowed": visit.may("update", entity) is not None,
        "reason": f"Your roles do not allow you to change a {label}; an administrator may.",
        "ask": "confirm",
        "confirm": off if active else on,
        "danger": False,
        "primary": not active,
        "fields": {"row_version": row["row_version"], "active": "no" if active else "yes"},
    }


def problem_text(error: StepsError | None) -> str:
    """What is wrong in one sentence, with what each field says."""
    if error is None:
        return ""
    return " ".join(problem.message for problem in error.problems) or error.detail


def switch_page(entity: str, href: str, show: Show) -> Endpoint:
    """The endpoint that the action leads to; a refusal shows the page with what is wrong."""

    async def page(visit: Visit) -> Response:
        id_ = record_id(visit.request)
        label = visit.runtime.registry.entity(entity).label
        if id_ is None:
            raise NotFound(f"There is no such {label.lower()}, or you may not see it.")
        form = await visit.form()
        wanted, version = str(form.get("active") or ""), str(form.get("row_version") or "")
        if wanted not in ("yes", "no") or not (version.isascii() and version.isdigit() and len(version) < 10):
            raise InvalidRequest("The form is not complete; open the page again.")
        try:
            async with visit.uow() as uow:
                await update_record(uow, entity, id_, {"active": wanted == "yes"}, expected_version=int(version))
        except (Unauthenticated, NotFound):
            raise
        except StepsError as error:
            return await show(visit, id_, error)
        return visit.go(f"{href}/{id_}", flash=f"{label} switched {'on' if wanted == 'yes' else 'off'}.")

    return page
