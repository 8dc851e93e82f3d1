"""The board of issues by state, how they come and go, and the matrix of priorities."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from starlette.responses import Response

from admin_views import issue_view
from admin_views.issue_view import HREF, lasted
from admin_views.pages import PageRoute
from admin_views.record_steps import state_chip_of
from admin_views.visit import Visit, json_answer, record_id
from app.core.errors import Conflict, FieldProblem, Forbidden, NotFound, StaleVersion, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.lifecycles.queries import in_force, steps_of
from app.domain.lifecycles.transitions import transition_record
from app.domain.support.issue_links import ISSUE
from app.domain.support.issue_priorities import MATRIX, Cell, Impact, Priority, Urgency, matrix, set_cell
from app.domain.support.issue_queries import IssueLine, board, categories, lifecycles_of_lines
from app.domain.support.issue_trend import DayCount, GroupCount, issue_trend

PERIODS = (14, 30, 90)
CHART_WIDTH, CHART_HEIGHT = 720, 160


async def board_page(visit: Visit) -> Response:
    """Open issues by state, and what ended in the last week; all choices in the address."""
    query = visit.request.query_params
    mine, priority = query.get("mine") == "1", query.get("priority", "")
    priority = priority if priority in list(Priority) else ""
    category = _uuid(query.get("category"))
    async with visit.uow() as uow:
        lines, more = await board(uow, mine=mine, category_id=category, priority=priority or None)
        lifecycles = await lifecycles_of_lines(uow, lines)
        chosen = {"mine": "1" if mine else "", "priority": priority, "category": str(category) if category else ""}
        page = {
            "tabs": issue_view.tabs(HREF),
            "columns": _columns(visit, uow, lines, lifecycles),
            "count": len(lines),
            "more": more,
            "filters": _filters(chosen),
            "chosen": chosen,
            "categories": [
                {"value": str(id_), "label": label, "chosen": id_ == category} for id_, label in await categories(uow)
            ],
            "priorities": [{"value": p.value, "label": p.value.upper(), "chosen": p == priority} for p in Priority],
            "filtered": any(chosen.values()),
            "new_href": f"{HREF}/new" if visit.may("create", ISSUE) is not None else None,
            "self_href": f"{HREF}?{urlencode({k: v for k, v in chosen.items() if v})}",
            "live": "entity:issue",
        }
        return await visit.page(uow, "steps/issue_board.html", "Issue board", page=page)


def _columns(
    visit: Visit, uow: UnitOfWork, lines: Sequence[IssueLine], lifecycles: Mapping[UUID, Any]
) -> list[dict[str, Any]]:
    """A column for each state of the lifecycle in force, then for the states of older versions that are in use."""
    columns: dict[str, dict[str, Any]] = {}
    versions = [*in_force(uow, ISSUE), *lifecycles.values()]
    for version in versions:
        for state in version.definition.states:
            # What is called off has no column; neither has a state of old that nothing is in.
            used = version in versions[:1] or any(line.state == state.name for line in lines)
            if state.category != "void" and used:
                columns.setdefault(state.name, {"name": state.name, **state_chip_of(state), "cards": [], "sources": []})
    for line in lines:
        lifecycle = lifecycles.get(line.version_id) if line.version_id is not None else None
        if line.state in columns:
            card = issue_view.card(visit, line, lifecycle, now=uow.now)
            card["moves"] = _moves(lifecycle, line.state, columns) if lifecycle is not None else []
            columns[line.state]["cards"].append(card)
    return list(columns.values())


def _moves(lifecycle: Any, state: str, columns: Mapping[str, Any]) -> list[dict[str, str]]:
    """The columns to which a step leads from here; whether the person may take it is decided when they do."""
    return [
        {"to": step.to, "label": step.label}
        for step in lifecycle.leaving.get(state, ())
        if step.to in columns and step.to != state
    ]


def _filters(chosen: Mapping[str, str]) -> dict[str, str]:
    without = {k: v for k, v in chosen.items() if v and k != "mine"}
    return {
        "all_href": f"{HREF}?{urlencode(without)}" if without else HREF,
        "mine_href": f"{HREF}?{urlencode({**without, 'mine': '1'})}",
    }


async def move_page(visit: Visit) -> Response:
    """Take the step that leads to a column. What it asks for is asked on the issue's page, whose address is told."""
    id_, form = record_id(visit.request), await visit.form()
    if id_ is None:
        raise NotFound("There is no such issue, or you may not see it.")
    to, given = str(form.get("to", ""))[:48], str(form.get("row_version", ""))
    version = int(given) if given.isascii() and given.isdigit() and len(given) < 10 else 0
    async with visit.uow() as uow:
        steps = await steps_of(uow, entity=ISSUE, record_id=id_)
    offers = [offer for offer in steps.offers if offer.step.to == to]
    offer = next((each for each in offers if each.allowed), offers[0] if offers else None)
    if offer is None:
        label = steps.lifecycle.label(to)
        return _not_moved(f"No step leads from “{steps.state.label}” to “{label}”.")
    if offer.refusal is not None:
        return _not_moved(f"{offer.refusal.detail} {offer.refusal.satisfy}".strip())
    if offer.step.require_comment or offer.missing:
        return json_answer({"ask": f"{HREF}/{id_}#step-{offer.step.name}"})
    try:
        async with visit.uow() as uow:
            done = await transition_record(
                uow, entity=ISSUE, record_id=id_, name=offer.step.name, expected_version=version
            )
    except StaleVersion:
        return _not_moved("Somebody changed this issue meanwhile.", status=412)
    except (Conflict, Forbidden, ValidationFailed) as error:
        return _not_moved(error.detail)
    return json_answer(
        {"moved": done.to_state, "said": f"{done.label}: “{done.to_label}”", "version": done.row_version}
    )


def _not_moved(text: str, *, status: int = 409) -> Response:
    return json_answer({"detail": text}, status)


# -- how they come and go ----------------------------------------------------------------------------------------------


async def trend_page(visit: Visit) -> Response:
    """Opened and resolved per day, by category and priority, and how long it takes."""
    given = visit.request.query_params.get("days", "")
    length = int(given) if given in {str(days) for days in PERIODS} else 30
    async with visit.uow() as uow:
        last = visit.formats.local(uow.now).date()
        first = last - timedelta(days=length - 1)
        trend = await issue_trend(uow, first=first, last=last, zone=visit.formats.zone)
        page = {
            "tabs": issue_view.tabs(f"{HREF}/trend"),
            "periods": [
                {"label": f"{days} days", "href": f"{HREF}/trend?days={days}", "current": days == length}
                for days in PERIODS
            ],
            "figures": [
                {"label": "Raised", "value": str(trend.opened)},
                {"label": "Resolved", "value": str(trend.resolved)},
                {"label": "Open now", "value": str(trend.open_now)},
                {"label": "Mean time to resolve", "value": lasted(trend.mean)},
                {"label": "Reopened", "value": str(trend.reopened)},
            ],
            "chart": chart(trend.days, visit.formats.date),
            "days": [
                {
                    "day": visit.formats.date(day.day),
                    "opened": day.opened,
                    "resolved": day.resolved,
                    "open_after": day.open_after,
                }
                for day in reversed(trend.days)
                if day.opened or day.resolved
            ],
            "categories": [_group(group, "category") for group in trend.categories],
            "priorities": [_group(group, "") for group in trend.priorities],
            "live": "entity:issue",
            "self_href": f"{HREF}/trend?days={length}",
        }
        return await visit.page(uow, "steps/issue_trend.html", "Issue trend", page=page)


def _group(group: GroupCount, field: str) -> dict[str, Any]:
    href = None
    if field and group.id is not None:
        href = f"{HREF}?{urlencode({field: str(group.id)})}"
    return {
        "label": group.label,
        "href": href,
        "opened": group.opened,
        "resolved": group.resolved,
        "open_now": group.open_now,
        "mean": lasted(group.mean),
    }


def chart(days: Sequence[DayCount], said: Any) -> dict[str, Any]:
    """Two bars for each day and a line of what is open, in the units of the drawing's view box."""
    highest = max((max(day.opened, day.resolved) for day in days), default=0) or 1
    most_open = max((day.open_after for day in days), default=0) or 1
    step = CHART_WIDTH / max(len(days), 1)
    width = max(step * 0.36, 1.0)
    bars, points = [], []
    for number, day in enumerate(days):
        left = number * step + step * 0.1
        for kind, count, shift in (("opened", day.opened, 0.0), ("resolved", day.resolved, width + step * 0.04)):
            height = (CHART_HEIGHT - 8) * count / highest
            if count:
                text = f"{said(day.day)}: {count} {'raised' if kind == 'opened' else 'resolved'}"
                bars.append(
                    {
                        "kind": kind,
                        "x": f"{left + shift:.1f}",
                        "y": f"{CHART_HEIGHT - height:.1f}",
                        "width": f"{width:.1f}",
                        "height": f"{height:.1f}",
                        "text": text,
                    }
                )
        y = CHART_HEIGHT - (CHART_HEIGHT - 8) * day.open_after / most_open
        points.append(f"{(number + 0.5) * step:.1f},{y:.1f}")
    ends: list[date] = [days[0].day, days[-1].day] if days else []
    return {
        "width": CHART_WIDTH,
        "height": CHART_HEIGHT,
        "bars": bars,
        "line": " ".join(points),
        "highest": highest,
        "most_open": most_open,
        "first": said(ends[0]) if ends else "",
        "last": said(ends[-1]) if ends else "",
    }


# -- the matrix --------------------------------------------------------------------------------------------------------


async def priorities_page(visit: Visit) -> Response:
    """The matrix of impact and urgency; who may change it does so cell by cell, all with one button."""
    may = visit.may("update", MATRIX) is not None and visit.may("create", MATRIX) is not None
    if visit.request.method == "POST":
        form = await visit.form()
        async with visit.uow() as uow:
            for (impact, urgency), now in (await matrix(uow)).items():
                given = form.get(f"{impact}-{urgency}")
                if given is None or given == now:
                    continue
                if given not in list(Priority):
                    raise ValidationFailed([FieldProblem(f"{impact}-{urgency}", "choose one of P1 to P4")])
                await set_cell(uow, impact=impact, urgency=urgency, priority=Priority(str(given)))
        return visit.go(f"{HREF}/priorities", flash="The priorities are saved. Open issues follow them.")
    async with visit.uow() as uow:
        cells = await matrix(uow)
        page = {
            "tabs": issue_view.tabs(f"{HREF}/priorities"),
            "may": may,
            "urgencies": [urgency.value.capitalize() for urgency in Urgency],
            "rows": [_row(cells, impact) for impact in Impact],
            "options": [{"value": p.value, "label": p.value.upper()} for p in Priority],
        }
        return await visit.page(uow, "steps/issue_priorities.html", "Issue priorities", page=page)


def _row(cells: Mapping[Cell, Priority], impact: Impact) -> dict[str, Any]:
    return {
        "label": impact.value.capitalize(),
        "cells": [
            {
                "name": f"{impact.value}-{urgency.value}",
                "value": cells[impact, urgency].value,
                "chip": issue_view.priority_chip(cells[impact, urgency].value),
                "label": f"{impact.value.capitalize()} impact, {urgency.value} urgency",
            }
            for urgency in Urgency
        ],
    }


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


ROUTES: tuple[PageRoute, ...] = (
    PageRoute(HREF, board_page),
    PageRoute(f"{HREF}/trend", trend_page),
    PageRoute(f"{HREF}/priorities", priorities_page, ("GET", "POST")),
    PageRoute(f"{HREF}/{{id}}/move", move_page, ("POST",)),
)
