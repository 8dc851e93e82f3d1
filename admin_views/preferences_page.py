"""A person's preferences on one page: how screens look, where to begin, what is told over which channels and when."""

from collections.abc import Mapping
from typing import Any
from zoneinfo import available_timezones

from starlette.datastructures import FormData
from starlette.responses import Response

from admin_views.navigation import navigation
from admin_views.pages import PageRoute
from admin_views.visit import Visit
from app.core.errors import FieldProblem, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.preferences import own_profile, set_profile
from app.domain.notify.preferences import own_settings, save_settings, wish_for
from app.domain.notify.rule_book import NotificationRule, rules_in_force
from app.domain.notify.rules import Channel, Kind
from app.domain.notify.times import Digest

HREF = "/preferences"
LOCALES = {
    "en-GB": "English (United Kingdom): 1,234.56",
    "en-US": "English (United States): 1,234.56",
    "de-DE": "Deutsch (Deutschland): 1.234,56",
    "de-CH": "Deutsch (Schweiz): 1\u2019234.56",
    "fr-FR": "Français (France): 1\u202f234,56",
    "es-ES": "Español (España): 1.234,56",
    "it-IT": "Italiano (Italia): 1.234,56",
    "nl-NL": "Nederlands (Nederland): 1.234,56",
    "pl-PL": "Polski (Polska): 1\u202f234,56",
}
DIGESTS = {Digest.NOW.value: "At once", Digest.HOURLY.value: "Every hour", Digest.DAILY.value: "Once a day"}
INHERIT = {"": "As above", **DIGESTS}


async def preferences_page(visit: Visit) -> Response:
    """The page; sent, it keeps what was chosen."""
    if visit.request.method == "POST":
        return await _save(visit, await visit.form())
    async with visit.uow() as uow:
        return await _show(visit, uow, await own_profile(uow), await own_settings(uow))


async def _save(visit: Visit, form: FormData) -> Response:
    profile = {name: _text(form, name) for name in ("time_zone", "locale", "landing_page")}
    settings = settings_of(form)
    try:
        async with visit.uow() as uow:
            await set_profile(uow, profile)
            await save_settings(uow, settings)
    except ValidationFailed as error:
        async with visit.uow() as uow:
            return await _show(visit, uow, profile, settings, error.problems)
    return visit.go(HREF, flash="Your preferences are saved.")


def settings_of(form: FormData) -> dict[str, Any]:
    """What the form says, as settings: only what differs from "as above" is kept."""
    settings: dict[str, Any] = {"channels": [str(name) for name in form.getlist("channels")]}
    for name in ("digest", "digest_at"):
        if _text(form, name):
            settings[name] = _text(form, name)
    if form.get("quiet"):
        settings["quiet"] = {
            "from": _text(form, "quiet_from"),
            "until": _text(form, "quiet_until"),
            "weekends": bool(form.get("quiet_weekends")),
        }
    levels = {"categories": [kind.value for kind in Kind], "events": [str(name) for name in form.getlist("rule")]}
    for level, names in levels.items():
        chosen = {name: choice for name in names if (choice := _choice(form, f"{level}.{name}"))}
        if chosen:
            settings[level] = chosen
    return settings


def _choice(form: FormData, prefix: str) -> dict[str, Any]:
    how = _text(form, f"{prefix}.how")
    if how == "muted":
        return {"muted": True}
    choice: dict[str, Any] = {}
    if how == "own":
        choice["channels"] = [str(name) for name in form.getlist(f"{prefix}.channels")]
    if _text(form, f"{prefix}.digest"):
        choice["digest"] = _text(form, f"{prefix}.digest")
    return choice


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""


async def _show(
    visit: Visit,
    uow: UnitOfWork,
    profile: Mapping[str, Any],
    settings: Mapping[str, Any],
    problems: tuple[FieldProblem, ...] = (),
) -> Response:
    rules = sorted(
        (rule for of in rules_in_force(uow).by_event.values() for rule in of),
        key=lambda rule: (rule.telling.kind.value, rule.telling.head),
    )
    quiet = settings.get("quiet") or {}
    page = {
        "problems": [{"field_id": None, "label": _place(p.path, rules), "message": p.message} for p in problems],
        "zones": _zones(),
        "zone": profile.get("time_zone") or "Europe/Berlin",
        "locales": LOCALES,
        "locale": profile.get("locale") or "en-GB",
        "landing": profile.get("landing_page") or "/",
        "landing_pages": _landing_pages(visit),
        "channels": [
            {"value": channel.value, "label": channel.label, "chosen": channel.value in _global(settings)}
            for channel in Channel
        ],
        "digests": DIGESTS,
        "inherit": INHERIT,
        "digest": settings.get("digest") or Digest.NOW.value,
        "digest_at": settings.get("digest_at") or "08:00",
        "quiet": {
            "on": bool(quiet),
            "from": quiet.get("from") or "20:00",
            "until": quiet.get("until") or "07:00",
            "weekends": bool(quiet.get("weekends")),
        },
        "categories": [_row("categories", kind.value, kind.label, settings, _of(rules, kind)) for kind in Kind],
        "events": [
            _row("events", rule.code, rule.telling.head or "What records and features say", settings, [rule])
            for rule in rules
        ],
    }
    status = 422 if problems else 200
    return await visit.page(uow, "steps/preferences.html", "Preferences", status=status, page=page)


def _zones() -> list[str]:
    """Places, and UTC; the zones of the database that are no places are left out."""
    return [*sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/")), "UTC"]


def _global(settings: Mapping[str, Any]) -> list[str]:
    return list(settings.get("channels") or (Channel.IN_APP.value, Channel.EMAIL.value))


def _of(rules: list[NotificationRule], kind: Kind) -> list[NotificationRule]:
    return [rule for rule in rules if rule.telling.kind is kind]


def _row(
    level: str, name: str, label: str, settings: Mapping[str, Any], rules: list[NotificationRule]
) -> dict[str, Any]:
    """What was chosen for a kind or an event, and what comes of it. Forced: nothing but more can be chosen."""
    chosen = (settings.get(level) or {}).get(name) or {}
    wishes = [wish_for(rule, settings) for rule in rules]
    shown = chosen.get("channels") or (wishes[0].channels if wishes else _global(settings))
    return {
        "name": name,
        "label": label,
        "how": "muted" if chosen.get("muted") else ("own" if chosen.get("channels") else ""),
        "channels": [
            {"value": channel.value, "label": channel.label, "chosen": channel.value in shown} for channel in Channel
        ],
        "digest": chosen.get("digest") or "",
        "forced": bool(wishes) and all(wish.forced for wish in wishes),
        "partly": any(wish.forced for wish in wishes),
    }


def _place(path: str, rules: list[NotificationRule]) -> str:
    """Where on the page a problem lies, in words."""
    level, _, rest = path.partition(".")
    name = rest.partition(".")[0]
    if level == "categories" and name in set(Kind):
        return Kind(name).label
    if level == "events":
        return next((rule.telling.head for rule in rules if rule.code == name), name)
    return path.replace("_", " ").replace(".", " ").capitalize()


def _landing_pages(visit: Visit) -> list[dict[str, str]]:
    """Every page of the navigation that the person has."""
    groups = navigation(
        visit.runtime.registry,
        has_page=visit.site.has_page,
        may=lambda action, entity: visit.may(action, entity) is not None,
        at=HREF,
    )
    return [{"href": item["href"], "label": item["label"]} for group in groups for item in group["items"]]


ROUTES: tuple[PageRoute, ...] = (PageRoute(HREF, preferences_page, ("GET", "POST")),)
