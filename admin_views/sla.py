"""The SLA monitor: open clocks by how they stand, breaches by day, and new deadlines that wait for a decision."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import select
from starlette.responses import Response

from admin_views.formats import Formats
from admin_views.navigation import record_path
from admin_views.pages import PageRoute
from admin_views.visit import Visit, record_id
from app.core.errors import FieldProblem, NotFound, StepsError, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope, scope
from app.domain.calendars.wall_time import Occurrence, wall_to_utc, zone_info
from app.domain.sla import monitor
from app.domain.sla.clock_math import ClockStatus
from app.domain.sla.monitor import Chosen, DayOfBreaches, OpenClock, Standing
from app.domain.sla.queries import thresholds_passed
from app.domain.sla.rebaseline import decide_rebaseline, request_rebaseline, withdraw_rebaseline

HREF = "/sla"
FILTERS = ("policy", "application", "stage", "owner", "entity")
LABELS = {
    "policy": "Policy", "application": "Application", "stage": "Stage", "owner": "Owner", "entity": "Kind of record",
}  # fmt: skip
STANDINGS = {
    Standing.LATE: ("Late", "breach", "alert-triangle"),
    Standing.RISK: ("At risk", "warn", "clock-exclamation"),
    Standing.ON_TIME: ("On time", "ok", "circle-check"),
    Standing.PAUSED: ("Paused", "far", "player-pause"),
}
CHART = {"width": 720, "height": 140, "foot": 18}


async def monitor_page(visit: Visit) -> Response:
    """The monitor; every filter is in the address."""
    query = visit.request.query_params
    values = {name: query.get(name) or None for name in FILTERS}
    standing = next((each for each in Standing if each.value == query.get("state")), None)
    chosen = Chosen(standing=standing, **values)
    asked = {name: value for name, value in values.items() if value} | ({"state": standing.value} if standing else {})
    async with visit.uow() as uow:
        rows = await monitor.open_clocks(uow, chosen, limit=monitor.PAGE + 1, after=_after(query.get("after")))
        numbers = await monitor.counts(uow, chosen)
        days = await monitor.breaches_by_day(uow, chosen, zone=visit.formats.zone.key)
        shown = rows[: monitor.PAGE]
        more = f"{rows[-2].due_at.isoformat()}_{rows[-2].id}" if len(rows) > monitor.PAGE else None
        page = {
            "tabs": tabs_of(visit, HREF),
            "tiles": [_tile(each, numbers[each], asked) for each in Standing],
            "filters": _filters(await monitor.choices(uow), asked, visit),
            "filtered": bool(asked),
            "state": asked.get("state", ""),
            "rows": [_row(visit, uow, clock) for clock in shown],
            "total": sum(numbers.values()) if standing is None else numbers[standing],
            "next_href": _address(asked, after=more) if more else None,
            "first_href": _address(asked) if query.get("after") else None,
            "self_href": _address(asked),
            "chart": chart_of(days, visit.formats),
            "requests": await _requests(visit, uow),
            "zone": visit.formats.zone_name(uow.now),
        }
        return await visit.page(uow, "steps/sla.html", "SLA monitor", page=page)


def tabs_of(visit: Visit, at: str) -> list[dict[str, Any]]:
    """The pages about service levels."""
    pages = [
        ("Monitor", HREF, "sla_clock", "clock-exclamation"),
        ("Policies", "/sla/policies", "sla_policy", "ruler-2"),
    ]
    return [
        {"label": label, "href": href, "icon": icon, "current": href == at, "count": None}
        for label, href, entity, icon in pages
        if visit.may("read", entity) is not None
    ]


def _address(asked: Mapping[str, str], **more: str) -> str:
    query = urlencode({**asked, **more})
    return f"{HREF}?{query}" if query else HREF


def _after(given: str | None) -> tuple[datetime, UUID] | None:
    """Where the next page begins; what cannot be read is the first page."""
    at, _, id_ = (given or "").rpartition("_")
    try:
        moment = datetime.fromisoformat(at)
        return (moment, UUID(id_)) if moment.tzinfo is not None else None
    except ValueError:
        return None


def _tile(standing: Standing, count: int, asked: Mapping[str, str]) -> dict[str, Any]:
    label, tone, icon = STANDINGS[standing]
    current = asked.get("state") == standing.value
    others = {name: value for name, value in asked.items() if name != "state"}
    href = _address(others) if current else _address({**others, "state": standing.value})
    return {"label": label, "tone": tone, "icon": icon, "count": f"{count:,}", "href": href, "current": current}


def _filters(
    found: Mapping[str, list[tuple[str, str, int]]], asked: Mapping[str, str], visit: Visit
) -> list[dict[str, Any]]:
    """A choice for each filter that there is something to choose of; what is chosen stays, though nothing has it."""
    shown = []
    for name in FILTERS:
        options = [
            {"value": value, "label": _option(visit, name, label), "count": count, "chosen": asked.get(name) == value}
            for value, label, count in found[name]
        ]
        if asked.get(name) and not any(option["chosen"] for option in options):
            options.append({"value": asked[name], "label": asked[name], "count": 0, "chosen": True})
        if len(options) > 1 or asked.get(name):
            shown.append({"name": name, "label": LABELS[name], "options": options})
    return shown


def _option(visit: Visit, name: str, label: str) -> str:
    entity = visit.runtime.registry.entities.get(label) if name == "entity" else None
    return entity.label if entity is not None else label


def _row(visit: Visit, uow: UnitOfWork, clock: OpenClock) -> dict[str, Any]:
    label, tone, icon = STANDINGS[clock.standing]
    entity = uow.registry.entities.get(clock.record_entity)
    return {
        "label": clock.label,
        "href": record_path(entity, clock.record_id) if entity is not None else None,
        "clock_href": f"{HREF}/clocks/{clock.id}",
        "kind": entity.label if entity is not None else clock.record_entity,
        "policy": clock.policy,
        "stage": clock.stage or "",
        "owner": clock.assignee or clock.owner or "",
        "standing": {"label": label, "tone": tone, "icon": icon},
        "left": left_words(clock, uow.now),
        "due": visit.formats.moment(clock.due_at, uow.now),
        "due_at": clock.due_at.isoformat(),
        "percent": percent_used(clock, uow.now),
    }


def left_words(clock: OpenClock, now: datetime) -> str:
    """How much time is left, or since when it is late; of a clock that stands, what is left of its target."""
    if clock.state is ClockStatus.PAUSED:
        left = (clock.target or timedelta(0)) - (clock.consumed or timedelta(0))
        return f"{duration_words(left)} left" if left > timedelta(0) else f"{duration_words(-left)} over"
    left = clock.due_at - now
    return f"{duration_words(left)} left" if left > timedelta(0) else f"{duration_words(-left)} late"


def duration_words(value: timedelta) -> str:
    """`2 d 3 h`, `4 h 10 min`, `12 min`."""
    minutes = int(value.total_seconds() // 60)
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def percent_used(clock: OpenClock, now: datetime) -> int:
    """How much of the way to the due instant is gone; of working time, what was counted until it last stood."""
    if clock.state is ClockStatus.PAUSED and clock.target:
        return min(100, int((clock.consumed or timedelta(0)) * 100 / clock.target))
    whole = clock.due_at - clock.started_at
    if whole <= timedelta(0):
        return 100
    return max(0, min(100, int((now - clock.started_at) * 100 / whole)))


def chart_of(days: list[DayOfBreaches], formats: Formats) -> dict[str, Any]:
    """Bars of the last days: what ended in time, what ended late, and a mark for the breaches of the day."""
    most = max((max(day.met + day.missed, day.breaches) for day in days), default=0)
    step = CHART["width"] / max(1, len(days))
    room = CHART["height"] - CHART["foot"]
    bars = []
    for number, day in enumerate(days):
        met, missed = (room * n / most if most else 0 for n in (day.met, day.missed))
        bars.append({
            "x": round(number * step + step * 0.14, 1), "width": round(step * 0.72, 1), "day": formats.date(day.day),
            "met": day.met, "missed": day.missed, "breaches": day.breaches,
            "met_y": round(room - met, 1), "met_height": round(met, 1),
            "missed_y": round(room - met - missed, 1), "missed_height": round(missed, 1),
            "breach_y": round(room - (room * day.breaches / most if most else 0), 1),
            "label": f"{day.day.day} {day.day:%b}" if number % 5 == len(days) % 5 or number == len(days) - 1 else "",
            "mid": round(number * step + step / 2, 1),
        })  # fmt: skip
    met, missed, breaches = (sum(getattr(day, name) for day in days) for name in ("met", "missed", "breaches"))
    share = f"{100 * met / (met + missed):.1f} %" if met + missed else ""
    return {**CHART, "room": room, "bars": bars, "met": met, "missed": missed, "breaches": breaches, "share": share,
            "empty": not most, "days": len(days)}  # fmt: skip


# -- new deadlines -----------------------------------------------------------------------------------------------------


async def _requests(visit: Visit, uow: UnitOfWork) -> list[dict[str, Any]]:
    """New deadlines that somebody asks for, oldest first."""
    requests, clocks, users = uow.table("sla_rebaseline"), uow.table("sla_clock"), uow.table("user")
    if visit.may("read", "sla_rebaseline") is None:
        return []
    statement = (
        select(requests, clocks.c.label, users.c.name.label("who"))
        .join(clocks, clocks.c.id == requests.c.clock_id)
        .outerjoin(users, users.c.id == requests.c.requested_by_id)
        .where(requests.c.state == "requested")
        .order_by(requests.c.requested_at)
        .limit(monitor.PAGE)
    )
    rows = await uow.execute(scope(statement, uow, "read", "sla_rebaseline"))
    return [
        {
            "label": row.label,
            "who": row.who or "The platform",
            "old": visit.formats.moment(row.old_due_at, uow.now),
            "new": visit.formats.moment(row.new_due_at, uow.now),
            "reason": row.reason,
            "href": f"{HREF}/clocks/{row.clock_id}",
        }
        for row in rows
    ]


async def clock_page(visit: Visit) -> Response:
    """One clock: what it measures, what it has passed, and its deadline's changes."""
    return await _show_clock(visit, _id(visit))


async def _show_clock(visit: Visit, id_: UUID, error: StepsError | None = None, typed: str = "") -> Response:
    async with visit.uow() as uow:
        await require_in_scope(uow, "read", "sla_clock", id_)
        clocks, policies = uow.table("sla_clock"), uow.table("sla_policy")
        statement = (
            select(clocks, policies.c.label.label("policy"), policies.c.code.label("policy_code"))
            .join(policies, policies.c.id == clocks.c.policy_id)
            .where(clocks.c.id == id_)
        )
        row = (await uow.execute(statement)).one()
        entity = uow.registry.entities.get(row.record_entity)
        formats, now = visit.formats, uow.now
        passed = await thresholds_passed(uow, record_entity=row.record_entity, record_id=row.record_id)
        history = await _history(visit, uow, id_)
        waiting = next((each for each in history if each["state"] == "requested"), None)
        runs = row.state == ClockStatus.RUNNING and row.measure == "deadline"
        page = {
            "id": str(id_),
            "label": row.label,
            "policy": row.policy,
            "policy_href": f"/sla/policies/{row.policy_id}",
            "record_href": record_path(entity, row.record_id) if entity is not None else None,
            "state": row.state.capitalize(),
            "late": row.breached_at is not None or (row.state == ClockStatus.RUNNING and row.due_at <= now),
            "facts": [
                {"label": "Measures", "value": "A deadline" if row.measure == "deadline" else "Working time"},
                {"label": "Started", "value": formats.instant(row.started_at)},
                {"label": "Due", "value": formats.instant(row.due_at)},
                {"label": "Computed from", "value": _origin(row, formats)},
                {"label": "Target", "value": duration_words(row.target) if row.target else ""},
                {"label": "Used before", "value": duration_words(row.consumed) if row.consumed else ""},
                {"label": "Breached", "value": formats.instant(row.breached_at) if row.breached_at else ""},
                {"label": "Ended", "value": formats.instant(row.stopped_at) if row.stopped_at else ""},
                {"label": "Round", "value": str(row.generation)},
            ],
            "ahead": _ahead(row, formats, now),
            "passed": [
                {"threshold": each.threshold.capitalize(), "at": formats.instant(each.at), "told": each.announced,
                 "round": each.generation}
                for each in passed if each.policy == row.policy
            ],
            "history": history,
            "waiting": waiting,
            "may_request": runs and waiting is None and visit.may("rebaseline:request", "sla_clock") is not None,
            "may_decide": waiting is not None and visit.may("rebaseline:decide", "sla_clock") is not None,
            "mine": waiting is not None and waiting["requested_by"] == visit.actor.id,
            "zone": formats.zone_name(now),
            "error": (error.problems[0].message if error.problems else error.detail) if error else "",
            "typed": typed,
        }  # fmt: skip
        return await visit.page(
            uow, "steps/sla_clock.html", row.label, page=page, status=error.status if error else 200
        )


def _ahead(row: Any, formats: Formats, now: datetime) -> list[dict[str, str]]:
    """What the clock still announces, and when."""
    if row.state != ClockStatus.RUNNING:
        return []
    schedule = row.schedule or [
        ["warning", row.warn_at and row.warn_at.isoformat()],
        ["breach", row.due_at.isoformat()],
    ]
    moments = [(code, datetime.fromisoformat(at)) for code, at in schedule if at]
    return [
        {"threshold": code.replace("_", " ").capitalize(), "at": formats.instant(at)}
        for code, at in moments
        if at > now
    ]


def _origin(row: Any, formats: Formats) -> str:
    """What a deadline was computed from."""
    return f"{row.formula}, {formats.date(row.base_date)}" if row.formula and row.base_date else ""


async def _history(visit: Visit, uow: UnitOfWork, clock_id: UUID) -> list[dict[str, Any]]:
    requests, users = uow.table("sla_rebaseline"), uow.table("user")
    asker, decider = users.alias("asker"), users.alias("decider")
    statement = (
        select(requests, asker.c.name.label("who"), decider.c.name.label("by"))
        .outerjoin(asker, asker.c.id == requests.c.requested_by_id)
        .outerjoin(decider, decider.c.id == requests.c.decided_by_id)
        .where(requests.c.clock_id == clock_id)
        .order_by(requests.c.requested_at.desc())
    )
    return [
        {
            "id": str(row.id), "state": row.state, "who": row.who or "The platform", "by": row.by or "",
            "old": visit.formats.instant(row.old_due_at), "new": visit.formats.instant(row.new_due_at),
            "reason": row.reason, "note": row.note or "", "at": visit.formats.moment(row.requested_at, uow.now),
            "requested_by": row.requested_by_id,
        }
        for row in await uow.execute(statement)
    ]  # fmt: skip


async def request_page(visit: Visit) -> Response:
    """Ask for another deadline."""
    id_, form = _id(visit), await visit.form()
    typed = str(form.get("due_at", "")).strip()
    try:
        async with visit.uow() as uow:
            due_at = _instant(typed, visit.formats.zone.key)
            await request_rebaseline(uow, clock_id=id_, due_at=due_at, reason=str(form.get("reason", "")))
    except StepsError as error:
        if error.status not in (409, 422):
            raise
        return await _show_clock(visit, id_, error, typed)
    return visit.go(f"{HREF}/clocks/{id_}", flash="Asked. Somebody else decides.")


async def decide_page(visit: Visit) -> Response:
    """Approve, decline or withdraw a new deadline."""
    id_, form = _id(visit), await visit.form()
    request_id, how = record_id(visit.request, "request"), str(form.get("decision", ""))
    if request_id is None:
        raise NotFound("There is no such request for a new deadline, or you may not see it.")
    try:
        async with visit.uow() as uow:
            if how == "withdraw":
                await withdraw_rebaseline(uow, request_id=request_id)
            else:
                note = str(form.get("note", ""))
                await decide_rebaseline(uow, request_id=request_id, approve=how == "approve", note=note)
    except StepsError as error:
        if error.status not in (409, 422):
            raise
        return await _show_clock(visit, id_, error)
    said = {"approve": "The new deadline is in force.", "withdraw": "Withdrawn."}
    return visit.go(f"{HREF}/clocks/{id_}", flash=said.get(how, "Declined; the deadline stays."))


def _instant(typed: str, zone: str) -> datetime:
    """A wall time in the person's zone, as the browser's field gives it."""
    try:
        local = datetime.fromisoformat(typed)
    except ValueError:
        raise ValidationFailed([FieldProblem("due_at", "Give a date and a time.")]) from None
    if local.tzinfo is not None:
        return local.astimezone(UTC)
    return wall_to_utc(local.date(), local.time(), zone_info(zone), occurrence=Occurrence.SECOND)


def _id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such clock, or you may not see it.")
    return id_


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/sla", monitor_page),
    PageRoute("/sla/clocks/{id}", clock_page),
    PageRoute("/sla/clocks/{id}/deadline", request_page, ("POST",)),
    PageRoute("/sla/clocks/{id}/deadline/{request}", decide_page, ("POST",)),
)
