"""What a person has chosen for themselves: theme, contrast, density, and the application they work in."""

from urllib.parse import urlsplit

from starlette.responses import Response

from admin_views.auth import APPLICATION_COOKIE, safe_next
from admin_views.shell import ALL_APPLICATIONS
from admin_views.visit import Visit, json_answer
from app.core.errors import FieldProblem, ValidationFailed
from app.domain.access.preferences import set_preference

A_YEAR = 365 * 24 * 3_600


async def preference_page(visit: Visit) -> Response:
    """Keep one choice; scripts send it, so the answer is JSON."""
    name = visit.request.path_params["name"]
    value = (await visit.form()).get(name)
    if name == "application":
        return _choose_application(visit, value if isinstance(value, str) else "")
    async with visit.uow() as uow:
        await set_preference(uow, name=name, value=value if isinstance(value, str) else "")
    return json_answer({"name": name, "value": value})


def _choose_application(visit: Visit, code: str) -> Response:
    """Work in one application: pages then count only the roles held there. It takes nothing from anybody else."""
    granted = {grant.application for grant in visit.visitor.session.actor.grants}
    if code != ALL_APPLICATIONS and code not in granted:
        raise ValidationFailed([FieldProblem("application", "you have no role in this application; choose another")])
    response = visit.go(safe_next(urlsplit(visit.request.headers.get("referer", "")).path or "/"))
    if code == ALL_APPLICATIONS:
        response.delete_cookie(APPLICATION_COOKIE, path="/")
        return response
    secure = visit.runtime.settings.address.startswith("https://")
    response.set_cookie(
        APPLICATION_COOKIE, code, max_age=A_YEAR, path="/", httponly=True, secure=secure, samesite="lax"
    )
    return response
