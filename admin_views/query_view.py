"""A query as its templates show it: plain words out of what was read."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from markupsafe import Markup

from admin_views.cells import markdown
from admin_views.formats import Formats, duration
from admin_views.navigation import record_path
from app.core.errors import StepsError
from app.domain.support.query_people import Choices
from app.domain.support.query_reading import Message, QueryHead, Standing, Thread
from app.domain.support.query_rules import Priority
from models.registry import Registry

TONES: Mapping[Standing, str] = {Standing.OPEN: "open", Standing.ANSWERED: "waiting", Standing.CLOSED: "done"}
PRIORITIES = tuple({"value": one.value, "label": one.value.capitalize()} for one in Priority)
_MINUTE, _SECOND = timedelta(minutes=1), timedelta(seconds=1)
STEP_WORDS = {"answer": "answered", "close": "closed it", "reopen": "reopened it"}


@dataclass(frozen=True, slots=True)
class Refused:
    """A change that was not accepted: by which error, and what was typed."""

    error: StepsError
    typed: Mapping[str, str] = field(default_factory=dict)

    def of(self, path: str) -> str:
        return next((problem.message for problem in self.error.problems if problem.path == path), "")

    @property
    def above(self) -> str:
        """What no field shows."""
        return "" if self.error.problems else self.error.detail


@dataclass(frozen=True, slots=True)
class Drawing:
    """What every part needs to word itself."""

    registry: Registry
    formats: Formats
    now: datetime
    me: UUID | None

    def clock(self, at: datetime) -> str:
        """The time, with its date where that is not today."""
        here = self.formats.local(at)
        same = here.date() == self.formats.local(self.now).date()
        return f"{here:%H:%M}" if same else f"{here.day} {here:%b} {here:%H:%M}"


def head(drawing: Drawing, query: QueryHead) -> dict[str, Any]:
    """A query in a line."""
    row, standing = query.row, query.standing
    word = {Standing.OPEN: "Open", Standing.ANSWERED: "Answered", Standing.CLOSED: "Closed"}[standing]
    if row["lifecycle_state"] == "reopened":
        word = "Reopened"
    blocks = query.blocks
    return {
        "id": str(row["id"]),
        "href": f"/queries/{row['id']}",
        "reference": row["reference"],
        "subject": row["subject"],
        "tone": "warn" if blocks else TONES[standing],
        "word": f"{word}, blocks its process" if blocks else word,
        "icon": "lock" if blocks else None,
        "blocks": blocks,
        "priority": row["priority"].capitalize() if row["priority"] in (Priority.HIGH, Priority.URGENT) else "",
        "asker": query.asker,
        "asker_is_you": row["asker_id"] == drawing.me,
        "asked": query.asked,
        "asked_is_you": query.asked_of_me,
        "who": _who(drawing, query),
        "due_at": row["due_at"] if standing is Standing.OPEN else None,
        "due_text": drawing.clock(row["due_at"]) if row["due_at"] is not None else "",
        "asked_at": drawing.clock(row["created_at"]),
        "asked_iso": row["created_at"].isoformat(),
        "unread": query.unread,
        "messages": row["messages"],
        "watching": query.watching,
        "closed": standing is Standing.CLOSED,
        "about": _about(drawing, query),
    }


def _who(drawing: Drawing, query: QueryHead) -> str:
    """Whose turn it is, or how it ended."""
    row = query.row
    if query.standing is Standing.OPEN:
        return "You are to answer" if query.asked_of_me else f"{query.asked} to answer"
    took = f" in {duration(_minutes(row['answered_at'], row['created_at']))}" if row["answered_at"] is not None else ""
    if row["answered_at"] is not None:
        return f"{query.answered_by or 'STEPS'} answered{took}"
    return f"{query.closed_by or 'STEPS'} closed it"


def _minutes(end: datetime, start: datetime) -> timedelta:
    span = end - start
    return span - (span % _MINUTE) if span >= _MINUTE else span - (span % _SECOND)


def _about(drawing: Drawing, query: QueryHead) -> dict[str, str]:
    row = query.row
    entity = drawing.registry.entities.get(row["record_entity"])
    label = query.process or (entity.label if entity is not None else row["record_entity"])
    where = " · ".join(part for part in (query.node, query.run) if part)
    href = record_path(entity, row["record_id"]) if entity is not None else ""
    return {"label": label, "where": where, "href": href}


def thread(drawing: Drawing, found: Thread, refused: Refused | None = None) -> dict[str, Any]:
    """A query with its messages, and what may be done."""
    query, row = found.head, found.head.row
    offers = [offer for offer in (found.steps.offers if found.steps is not None else ()) if offer.allowed]
    may_change = (row["asker_id"] == drawing.me or found.may_lead) and query.standing is not Standing.CLOSED
    return {
        **head(drawing, query),
        "lines": [_line(drawing, one) for one in found.messages],
        "steps": [
            {
                "name": offer.step.name,
                "label": offer.step.label,
                "primary": offer.step.name == "answer",
                "needs_text": offer.step.require_comment or offer.step.name == "answer",
            }
            for offer in sorted(offers, key=lambda offer: offer.step.name != "answer")
        ],
        "may_write": found.may_write and query.standing is not Standing.CLOSED,
        "may_say": found.may_write and (query.standing is not Standing.CLOSED or bool(offers)),
        "may_change": may_change,
        "may_pass_on": query.asked_of_me and query.standing is not Standing.CLOSED and not may_change,
        "version": row["row_version"],
        "blocking": row["blocking"],
        "of_process": row["process_run_id"] is not None,
        "priority_value": row["priority"],
        "due_wall": drawing.formats.wall(row["due_at"]) if row["due_at"] is not None else "",
        "people_href": f"/queries/people?entity={row['record_entity']}&id={row['record_id']}",
        "choices_href": f"/queries/choices?entity={row['record_entity']}&id={row['record_id']}",
        "typed": refused.typed if refused is not None else {},
        "error": refused.above if refused is not None else "",
        "text_error": (refused.of("text") or refused.of("comment")) if refused is not None else "",
        "other_error": next(iter(_others(refused)), "") if refused is not None else "",
        "zone": drawing.formats.zone_name(drawing.now),
    }


def _others(refused: Refused) -> Sequence[str]:
    return [problem.message for problem in refused.error.problems if problem.path not in ("text", "comment")]


def _line(drawing: Drawing, one: Message) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "number": one.number,
        "by": one.by,
        "you": one.by_id == drawing.me,
        "at": drawing.clock(one.at),
        "iso": one.at.isoformat(),
        "html": with_names(markdown(one.text), one.mentions),
        "text": one.text,
        "step": step_words(one.step),
        "by_mail": one.source == "mail",
        "edited": drawing.clock(one.edited_at) if one.edited_at is not None else "",
        "earlier": [
            {"text": each["text"], "until": drawing.clock(datetime.fromisoformat(each["until"]))}
            for each in one.earlier
        ],
        "files": [{"name": file["name"], "href": f"/files/{file['id']}/content"} for file in one.files],
        "correctable": one.correctable,
    }


def step_words(step: str | None) -> str:
    """What was done with a message."""
    if step is None:
        return ""
    plain = step.removesuffix("_as_lead")
    return STEP_WORDS.get(plain, plain.replace("_", " "))


def with_names(drawn: Markup, mentions: Sequence[Mapping[str, str]]) -> Markup:
    """Names in the place of the handles with which they were written."""
    names = {one["handle"]: one["name"] for one in mentions}
    if not names:
        return drawn
    handles = "|".join(re.escape(html.escape(handle)) for handle in sorted(names, key=len, reverse=True))

    def named(found: re.Match[str]) -> str:
        name = names[html.unescape(found[1]).lower()]
        return f'<span class="at-name">@{html.escape(name)}</span>'

    text = re.sub(rf"(?<![\w@.])@({handles})(?![\w@])", named, str(drawn), flags=re.IGNORECASE)
    return Markup(text)  # noqa: S704  (cleaned by `markdown`, and names are escaped)


def choices(found: Choices, chosen: str = "") -> list[dict[str, Any]]:
    """Of whom a query can be asked, in groups of options."""

    def option(value: str, label: str) -> dict[str, Any]:
        return {"value": value, "label": label, "chosen": value == chosen}

    groups = (
        ("People", [option(f"user:{one.id}", one.name) for one in found.people]),
        ("Roles", [option(f"role:{one.value}", one.label) for one in found.roles]),
        ("Groups", [option(f"group:{one.value}", one.label) for one in found.groups]),
    )
    return [{"label": label, "options": options} for label, options in groups if options]


def summary(threads: Sequence[Thread]) -> str:
    """`1 open, 1 closed`"""
    counts = {standing: sum(one.head.standing is standing for one in threads) for standing in TONES}
    parts = [f"{count} {standing.value}" for standing, count in counts.items() if count]
    return ", ".join(parts) or "none"
