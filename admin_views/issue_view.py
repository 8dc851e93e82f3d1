"""What the pages of issues show: cards of the board, the thread, the links, and what stands beside them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from admin_views.forms import NOTHING
from admin_views.navigation import record_path
from admin_views.record_steps import state_chip_of
from admin_views.titles import titles_of
from admin_views.visit import Visit
from app.core.uow import UnitOfWork
from app.domain.documents.files import StoredFile
from app.domain.lifecycles.compiled import CompiledLifecycle
from app.domain.sla.queries import ClockView, Urgency
from app.domain.support.issue_messages import Message
from app.domain.support.issue_queries import Around, IssueLine, LinkView
from app.domain.support.issue_similar import SimilarIssue
from models.schema import EntityDef

HREF = "/issues"
PRIORITY_TONES = {"p1": "failed", "p2": "on_hold", "p3": "waiting", "p4": "skipped"}
TABS = (
    ("Board", HREF, "layout-kanban"),
    ("List", "/data/issues", "list"),
    ("Trend", f"{HREF}/trend", "chart-line"),
    ("Priorities", f"{HREF}/priorities", "grid-dots"),
)


def tabs(at: str) -> list[dict[str, Any]]:
    """The pages of issues, as the macro `tabs` shows them."""
    return [{"label": label, "href": href, "icon": icon, "current": href == at} for label, href, icon in TABS]


def priority_chip(priority: str | None) -> dict[str, str] | None:
    return {"state": PRIORITY_TONES[priority], "label": priority.upper()} if priority else None


def lasted(time: timedelta | None) -> str:
    """A length of time in its two largest units: "3 d 4 h"."""
    if time is None:
        return NOTHING
    minutes = max(int(time.total_seconds() // 60), 0)
    days, hours, rest = minutes // 1440, minutes % 1440 // 60, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {rest} min" if hours else f"{rest} min"


def card(visit: Visit, line: IssueLine, lifecycle: CompiledLifecycle | None, *, now: Any) -> dict[str, Any]:
    """An issue in few words: on the board, and where a process lists its issues."""
    state = lifecycle.states.get(line.state) if lifecycle is not None else None
    chip = state_chip_of(state) if state is not None else {"state": "planned", "label": line.state or "No state"}
    return {
        "id": str(line.id),
        "href": f"{HREF}/{line.id}",
        "reference": line.reference,
        "title": line.title,
        "state": chip,
        "at_state": line.state,
        "version": line.row_version,
        "priority": priority_chip(line.priority),
        "blocking": line.blocking and line.is_open,
        "is_open": line.is_open,
        "assignee": line.assignee or "",
        "you": line.assignee_id == visit.actor.id,
        "category": line.category or "",
        "age": lasted(now - line.created_at),
    }


async def links(visit: Visit, uow: UnitOfWork, issue_id: UUID, found: Sequence[LinkView]) -> list[dict[str, Any]]:
    """The links by title; of what the person may not see only its kind is said."""
    titles = await titles_of(uow, [(link.entity, link.record_id) for link in found])
    return [_link(visit, uow, issue_id, link, titles) for link in found]


def _link(
    visit: Visit, uow: UnitOfWork, issue_id: UUID, link: LinkView, titles: Mapping[tuple[str, UUID], str]
) -> dict[str, Any]:
    definition: EntityDef | None = uow.registry.entities.get(link.entity)
    title = titles.get((link.entity, link.record_id))
    kind = definition.label if definition is not None else link.entity
    visible = definition is not None and title is not None
    note = ""
    if link.held:
        note = "On hold because of issues"
    elif link.overridden_at is not None:
        note = f"Goes on in spite of it since {visit.formats.moment(link.overridden_at, uow.now)}"
    return {
        "kind": kind,
        "icon": definition.icon if definition is not None else "link",
        "title": (title or f"{kind} {str(link.record_id)[-8:]}") if visible else "Out of your sight",
        "href": record_path(definition, link.record_id) if definition is not None and visible else None,
        "state": link.process_state if visible else None,
        "held": link.held,
        "note": note if visible else "",
        "remove_href": f"{HREF}/{issue_id}/links/{link.id}/remove",
    }


def thread(
    visit: Visit,
    uow: UnitOfWork,
    messages: Iterable[Message],
    files: Mapping[UUID, Sequence[StoredFile]],
    requester_id: UUID | None,
) -> list[dict[str, Any]]:
    """The messages with their files."""
    return [
        {
            "id": str(message.id),
            "who": message.author or "STEPS",
            "initials": _initials(message.author or "STEPS"),
            "you": message.author_id == visit.actor.id,
            "requester": message.author_id is not None and message.author_id == requester_id,
            "platform": message.author_id is None,
            "internal": message.internal,
            "text": message.text,
            "of": message.of_reference,
            "at_text": visit.formats.moment(message.at, uow.now),
            "at_iso": message.at.isoformat(),
            "files": [{"name": f.name, "href": f"/files/{f.id}/content"} for f in files.get(message.id, ())],
        }
        for message in messages
    ]


def _initials(name: str) -> str:
    words = name.split()
    return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words[:1])).upper()


def similar(found: Iterable[SimilarIssue]) -> list[dict[str, Any]]:
    return [
        {
            "href": f"{HREF}/{each.id}",
            "id": str(each.id),
            "reference": each.reference,
            "title": each.title,
            "is_open": each.is_open,
            "percent": round(each.likeness * 100),
            "resolution": (each.resolution or "")[:200],
        }
        for each in found
    ]


def facts(
    visit: Visit, uow: UnitOfWork, record: Mapping[str, Any], titles: Mapping[str, str | None], entity: EntityDef
) -> list[dict[str, Any]]:
    """The lines beside an issue."""

    def option(name: str) -> str:
        value = record.get(name)
        return next((o.label for o in entity.field(name).options if o.value == value), "")

    def moment(name: str) -> str:
        return visit.formats.moment(record[name], uow.now) if record.get(name) else ""

    seen = f"{record['occurrences']} times, last {moment('last_seen_at')}"
    lines: list[tuple[str, str]] = [
        ("Impact", option("impact")),
        ("Urgency", option("urgency")),
        ("Category", titles.get("category") or ""),
        ("Requester", titles.get("requester") or ""),
        ("Assignee", titles.get("assignee") or "Nobody"),
        ("Group", titles.get("group") or ""),
        ("Vendor", " ".join(part for part in (titles.get("vendor"), record.get("vendor_reference")) if part)),
        ("Where", titles.get("node") or titles.get("application") or ""),
        ("Raised", moment("created_at")),
        ("Answered", moment("responded_at")),
        ("Resolved", moment("resolved_at")),
        ("Closed", moment("closed_at")),
        ("Raised by", titles.get("rule") or ""),
        ("Noticed", seen if record["occurrences"] > 1 else ""),
    ]
    return [{"label": label, "value": value} for label, value in lines if value]


def clocks(visit: Visit, uow: UnitOfWork, found: Iterable[ClockView]) -> list[dict[str, Any]]:
    """The clocks of an issue; what counts down does so in the browser."""
    words = {Urgency.PAUSED: "Paused", Urgency.MET: "Met", Urgency.MISSED: "Missed"}
    tones = {Urgency.PAUSED: "waiting", Urgency.MET: "done", Urgency.MISSED: "failed"}
    return [
        {
            "label": clock.policy.removeprefix("Issue, ").capitalize(),
            "due": visit.formats.moment(clock.due_at, uow.now),
            "at": clock.due_at if clock.urgency in (Urgency.CALM, Urgency.SOON, Urgency.LATE) else None,
            "warn_at": clock.warn_at,
            "state": {"state": tones[clock.urgency], "label": words[clock.urgency]} if clock.urgency in words else None,
        }
        for clock in found
        if clock.urgency is not Urgency.NONE
    ]


def solution(record: Mapping[str, Any], entity: EntityDef) -> dict[str, str] | None:
    """How it was solved, once that is said."""
    if not record.get("resolution"):
        return None

    def option(name: str) -> str:
        return next((o.label for o in entity.field(name).options if o.value == record.get(name)), NOTHING)

    return {"text": record["resolution"], "cause": option("root_cause"), "code": option("resolution_code")}


def watching(visit: Visit, found: Around) -> dict[str, Any]:
    names = [name for _, name in found.watchers]
    return {
        "me": any(id_ == visit.actor.id for id_, _ in found.watchers),
        "count": len(names),
        "names": ", ".join(names),
    }
