"""Home: what waits for the person, how the day stands, and what happened last."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from starlette.responses import Response

from admin_views import forecast_view, queries
from admin_views.formats import Formats
from admin_views.pages import PageRoute
from admin_views.run_view import event_row, run_row
from admin_views.visit import Visit
from admin_views.work_words import KIND_ICONS, css_state, due_view
from app.domain.access.delegations import Delegation, own_delegations
from app.domain.finance.overview import DailyPnl, daily_pnl
from app.domain.workflow.my_work import Part, WorkItem, my_work
from app.domain.workflow.overview import Punctuality, activity, latest_business_date, punctuality
from app.domain.workflow.queries import RunSummary, list_runs
from app.domain.workflow.reopening_queries import RequestToConfirm, may_confirm, requests_to_confirm
from app.domain.workflow.states import ProcessState, RunState
from app.domain.workflow.ways import reading_for_others

SOON = timedelta(minutes=30)
SHOWN_EVENTS = 10
MOST_WORK = 100
ON_TIME_RUNS = 30
TARGET_PERCENT = 95
PARTS = (
    ("", "All"),
    (Part.TO_APPROVE.value, "To approve"),
    (Part.CLAIMABLE.value, "To claim"),
    (Part.ASSIGNED.value, "Mine"),
)
ACTIONS = {Part.TO_APPROVE: "Review", Part.CLAIMABLE: "Open", Part.ASSIGNED: "Continue"}


async def home_page(visit: Visit) -> Response:
    """Show Home; `?work=` chooses a part of my work."""
    chosen = visit.request.query_params.get("work", "")
    async with visit.uow() as uow:
        work = await my_work(uow, limit=MOST_WORK)
        formats, now = visit.formats, uow.now
        shown = [item for item in work if not chosen or item.part == chosen]
        async with reading_for_others(uow):
            day = await latest_business_date(uow)
            runs = await list_runs(uow, business_date=day) if day else []
            events = await activity(uow, limit=SHOWN_EVENTS)
            record = await punctuality(uow)
            pnl = await daily_pnl(uow)
            going = [run.id for run in runs if run.state is RunState.ACTIVE]
            ids = [item.id for item in shown]
            predicted = await forecast_view.chips(visit, uow, run_ids=going, process_run_ids=ids)
            confirms = may_confirm(uow)
        asked = await requests_to_confirm(uow) if confirms else []
        waiting = await queries.on_home(visit, uow)
        at_risk = forecast_view.at_risk(predicted, going)
        return await visit.page(
            uow,
            "steps/home.html",
            "Home",
            headline=_headline(len(asked), work, runs, formats, now=now, at_risk=at_risk),
            topics=["runs", "entity:process_run", "entity:process_query", f"user:{visit.actor.id}"],
            refresh_href="/" + (f"?{urlencode({'work': chosen})}" if chosen else ""),
            tiles=_tiles(len(asked), work, runs, record, pnl, formats=formats, now=now),
            parts=[
                {
                    "label": label,
                    "href": f"/?{urlencode({'work': name})}" if name else "/",
                    "current": name == chosen,
                    "count": sum(not name or item.part == name for item in work)
                    + (len(asked) if name in ("", Part.TO_APPROVE) else 0),
                }
                for name, label in PARTS
            ],
            queries=waiting,
            asked=[_asked(request, formats) for request in asked] if chosen in ("", Part.TO_APPROVE) else [],
            groups=_groups(shown, formats, now, predicted),
            runs=[forecast_view.with_forecast(run_row(run, visit), predicted.get(run.id)) for run in runs],
            runs_title="Today's runs" if day == formats.local(now).date() else "Latest runs",
            runs_note=formats.date(day) if day else "",
            runs_foot=_runs_foot(record),
            absences=_absences(await own_delegations(uow), visit),
            events=[event_row(event, visit, now) for event in events],
        )


def _headline(
    asked: int, work: Sequence[WorkItem], runs: Sequence[RunSummary], formats: Formats, *, now: datetime, at_risk: str
) -> str:
    """What matters, in one or two sentences."""
    dues = [item.due_at for item in work if item.due_at and item.due_at <= now + timedelta(hours=1)]
    count = asked + len(work)
    mine = f"{count} {'item' if count == 1 else 'items'} for you" if count else "Nothing waits for you"
    if dues:
        mine += f", {len(dues)} due by {formats.local(max(dues)):%H:%M}"
    late = sum(bool(run.progress.late) for run in runs)
    going = sum(run.state is RunState.ACTIVE for run in runs)
    day = f"{going} of {len(runs)} runs in progress" + (f", {late} with late work" if late else ", nothing late")
    day += f", {at_risk}." if at_risk else "."
    return f"{mine}. {day}" if runs else f"{mine}."


def _tiles(
    asked: int,
    work: Sequence[WorkItem],
    runs: Sequence[RunSummary],
    record: Punctuality,
    pnl: DailyPnl | None,
    *,
    formats: Formats,
    now: datetime,
) -> list[dict[str, Any]]:
    tiles = [_pnl_tile(pnl, formats)] if pnl else []
    share = record.share(ON_TIME_RUNS)
    if share is not None:
        before = record.share(ON_TIME_RUNS, before=ON_TIME_RUNS)
        delta = None if before is None else Decimal(str(share)) - Decimal(str(before))
        tiles.append(
            _tile(
                "Closed on time, 30 runs",
                formats.number(Decimal(str(share)), places=1),
                "%",
                href="/runs",
                note=f"Target {TARGET_PERCENT} %"
                if delta is None
                else f"on the 30 runs before, target {TARGET_PERCENT} %",
                delta="" if delta is None else f"{'+' if delta > 0 else ''}{formats.number(delta, places=1)} pt",
                delta_negative=delta is not None and delta < 0,
                values=record.rolling(ON_TIME_RUNS, 30),
                spark_label="Share of runs closed on time over 30 runs",
                kind="line",
                target=TARGET_PERCENT,
            )
        )
    late = sum(run.progress.late for run in runs)
    upcoming = sorted((item for item in work if item.due_at), key=lambda item: item.due_at or now)[:2]
    tiles.append(
        _tile(
            "Late now",
            str(late),
            "process" if late == 1 else "processes",
            href="/runs",
            note="past their deadline in today's runs" if late else "every open deadline is ahead",
        )
    )
    tiles.append(
        _tile(
            "Waiting for you",
            str(asked + len(work)),
            "",
            href="/",
            note="next due first" if upcoming else "to confirm" if asked else "all done",
            items=[
                {"label": item.label, "due": due_view(item.due_at, finished_at=None, closed=False, formats=formats)}
                for item in upcoming
            ],
        )
    )
    return tiles


def _tile(label: str, value: str, unit: str, *, href: str, note: str, **more: Any) -> dict[str, Any]:
    blank = {"delta": "", "delta_negative": False, "values": [], "spark_label": "", "kind": "bars", "target": None}
    return {"label": label, "value": value, "unit": unit, "href": href, "note": note, "items": [], **blank, **more}


def _pnl_tile(pnl: DailyPnl, formats: Formats) -> dict[str, Any]:
    day, value = pnl.days[-1]
    thousand = value / 1000
    sign = "+" if thousand > 0 else ""
    delta = (value - pnl.days[-2][1]) / 1000 if len(pnl.days) > 1 else None
    query = {"filter": f'{{"business_date":"{day.isoformat()}","current":true}}'}
    return _tile(
        f"{pnl.node} PnL, {formats.date(day)}",
        f"{sign}{formats.number(thousand, places=0)}",
        "kEUR",
        href=f"/data/pnl-facts?{urlencode(query)}",
        note="on the day before",
        delta="" if delta is None else f"{'+' if delta > 0 else ''}{formats.number(delta, places=0)}",
        delta_negative=delta is not None and delta < 0,
        values=[float(amount) for _, amount in pnl.days],  # for the drawing only
        spark_label=f"Daily PnL of {pnl.node}, last {len(pnl.days)} dates",
    )


def _groups(
    work: Sequence[WorkItem], formats: Formats, now: datetime, predicted: Mapping[UUID, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Now, today and later, each by due time, with what is `predicted` of it."""
    today = formats.local(now).date()
    named: dict[str, list[dict[str, Any]]] = {"Now": [], "Today": [], "Later": []}
    for item in work:
        if item.due_at is not None and item.due_at <= now + SOON:
            where = "Now"
        elif item.due_at is not None and formats.local(item.due_at).date() <= today:
            where = "Today"
        else:
            where = "Later"
        named[where].append({**_work_row(item, formats, now), "risk": predicted.get(item.id, {}).get("miss")})
    hints = {"Now": "overdue or due within 30 min", "Today": "rest of the business day", "Later": "after today"}
    return [{"label": label, "hint": hints[label], "rows": rows} for label, rows in named.items() if rows]


def _work_row(item: WorkItem, formats: Formats, now: datetime) -> dict[str, Any]:
    icon, kind = KIND_ICONS[item.kind]
    due = due_view(item.due_at, finished_at=None, closed=False, formats=formats)
    local = formats.local(item.due_at) if item.due_at else None
    origin = {Part.TO_APPROVE: "Your decision", Part.CLAIMABLE: "Free to take", Part.ASSIGNED: "Yours"}[item.part]
    if item.acting_for:
        origin = f"For {item.acting_for}"
    if item.needed > 1 and item.part is Part.TO_APPROVE:
        origin += f", {item.signatures} of {item.needed} signatures"
    if item.round > 1:
        origin += f", round {item.round}"
    others = f"holds up {item.blocks} {'process' if item.blocks == 1 else 'processes'}" if item.blocks else ""
    soon = item.due_at is not None and item.due_at <= now + SOON
    state = "in_review" if item.state is ProcessState.IN_REVIEW else css_state(item.state)
    return {
        "icon": "checks" if item.part is Part.TO_APPROVE else icon,
        "kind": kind,
        "label": item.label,
        "pick": f"{item.id}:{item.row_version}",
        "part": item.part.value,
        "href": f"/processes/{item.id}",
        "origin": f"{kind} · {origin}",
        "blocks": others,
        "node": item.node_label or item.reference,
        "run": item.run_label,
        "state": state,
        "word": item.state.label,
        "due": due,
        "due_clock": f"{local:%H:%M}" if local else "",
        "action": ACTIONS[item.part],
        "primary": soon,
    }


def _asked(request: RequestToConfirm, formats: Formats) -> dict[str, Any]:
    """A request to open finished work again, as a row of my work; it is decided on the page of the process."""
    return {
        "label": f"Open again: {request.label}",
        "href": f"/processes/{request.process_run_id}",
        "origin": f"Your decision · {request.requested_by or 'STEPS'}: {request.reason}",
        "node": request.node_label or request.reference,
        "run": request.run_label,
        "state": css_state(request.state),
        "word": request.state.label,
        "at": f"{formats.local(request.requested_at):%H:%M}",
    }


def _absences(delegations: Sequence[Delegation], visit: Visit) -> list[dict[str, str]]:
    """Who stands in for whom, where the person is one of the two."""
    lines = []
    for found in delegations:
        where = f" in {found.application}" if found.application else ""
        span = f"until {visit.formats.instant(found.valid_until)}"
        mine = found.delegate_id == visit.actor.id
        text = f"You stand in for {found.delegator}" if mine else f"{found.delegate} stands in for you"
        lines.append({"text": f"{text}{where}, from {visit.formats.instant(found.valid_from)} {span}."})
    return lines


def _runs_foot(record: Punctuality) -> str:
    total = len(record.days)
    on_time = sum(met for _, met in record.days)
    return f"{on_time} of the last {total} finished runs met their deadline." if total else "No run has finished yet."


ROUTES = (PageRoute("/", home_page),)
