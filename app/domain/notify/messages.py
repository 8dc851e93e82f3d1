"""The words of notifications and mails: pure functions of what has happened."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from html import escape
from uuid import UUID

from app.domain.calendars.errors import UnknownZone
from app.domain.calendars.wall_time import zone_info
from app.domain.notify.rules import Rule

MOST_LISTED = 40
TITLE_LENGTH = 300
REASON_LENGTH = 1_000


@dataclass(frozen=True, slots=True)
class Facts:
    """One thing that has happened to one process, for one person. `decides`: it waits for an approval."""

    rule: Rule
    process_run_id: UUID
    run_id: UUID
    process: str
    run: str
    reference: str
    business_date: date
    due_at: datetime | None
    decides: bool
    reason: str | None
    actor: str


@dataclass(frozen=True, slots=True)
class Message:
    """`link` is a path of the product."""

    title: str
    body: str
    link: str


def zone_of(name: str | None) -> tzinfo:
    """The zone a person reads times in; UTC where theirs is not known."""
    try:
        return zone_info(name) if name else UTC
    except UnknownZone:
        return UTC


def compose(facts: Facts, zone: tzinfo) -> Message:
    """The message about one thing."""
    parts = [_sentence(facts), f"{facts.run}, {_day(facts.business_date)} ({facts.reference})."]
    if facts.due_at is not None and facts.rule not in (Rule.APPROVED, Rule.BREACH):
        parts.append(f"Due {_moment(facts.due_at, zone)}.")
    if facts.due_at is not None and facts.rule is Rule.BREACH:
        parts.append(f"It was due {_moment(facts.due_at, zone)}.")
    body = "\n".join(part for part in parts if part)
    return Message(_title(f"{_HEADS[facts.rule, facts.decides]}: {facts.process}"), body, process_link(facts))


def summarise(many: Sequence[Facts], zone: tzinfo) -> Message:
    """One message about many things of one kind in one run, so that nobody gets them one by one."""
    first = many[0]
    title = f"{len(many)} {_PLURALS[first.rule, first.decides]}: {first.run} {first.reference}"
    lines = [
        f"{facts.process}{f', due {_moment(facts.due_at, zone)}' if facts.due_at else ''}"
        for facts in many[:MOST_LISTED]
    ]
    if len(many) > MOST_LISTED:
        lines.append(f"and {len(many) - MOST_LISTED} more")
    return Message(_title(title), "\n".join(lines), f"/runs/{first.run_id}")


def process_link(facts: Facts) -> str:
    return f"/processes/{facts.process_run_id}"


def mail_text(message: Message, address: str) -> str:
    """The mail as plain text; `address` is where the product is reached."""
    return f"{message.title}\n\n{message.body}\n\n{address}{message.link}\n"


def mail_html(message: Message, address: str) -> str:
    """The mail as HTML, without anything that has to be loaded."""
    url = escape(f"{address}{message.link}", quote=True)
    paragraphs = "".join(f'<p style="margin:0 0 8px">{escape(line)}</p>' for line in message.body.splitlines())
    return (
        '<!doctype html><html lang="en"><body style="margin:0;padding:24px;font:15px/1.5 sans-serif;color:#1b2733">'
        f'<h1 style="font-size:18px;margin:0 0 16px">{escape(message.title)}</h1>{paragraphs}'
        f'<p style="margin:16px 0 0"><a href="{url}" style="color:#0b5cad">Open it in STEPS</a></p></body></html>'
    )


_HEADS = {
    (Rule.RELEASED, False): "Ready for you",
    (Rule.RELEASED, True): "Waits for your approval",
    (Rule.REVIEW, False): "Submitted",
    (Rule.REVIEW, True): "Waits for your approval",
    (Rule.ASSIGNED, False): "Assigned to you",
    (Rule.ASSIGNED, True): "Waits for your approval",
    (Rule.WARNING, False): "Due soon",
    (Rule.WARNING, True): "Due soon",
    (Rule.BREACH, False): "Late",
    (Rule.BREACH, True): "Late",
    (Rule.REJECTED, False): "Rejected",
    (Rule.REJECTED, True): "Rejected",
    (Rule.APPROVED, False): "Approved",
    (Rule.APPROVED, True): "Approved",
    (Rule.FAILED, False): "Failed",
    (Rule.FAILED, True): "Failed",
}

_PLURALS = {
    **{(rule, decides): "processes are late" for rule in (Rule.BREACH,) for decides in (False, True)},
    **{(rule, decides): "processes are due soon" for rule in (Rule.WARNING,) for decides in (False, True)},
    **{(rule, True): "processes wait for your approval" for rule in (Rule.RELEASED, Rule.REVIEW, Rule.ASSIGNED)},
    (Rule.RELEASED, False): "processes are ready for you",
    (Rule.REVIEW, False): "processes were submitted",
    (Rule.ASSIGNED, False): "processes were assigned to you",
    **{(Rule.REJECTED, decides): "processes were rejected" for decides in (False, True)},
    **{(Rule.APPROVED, decides): "processes were approved" for decides in (False, True)},
    **{(Rule.FAILED, decides): "processes have failed" for decides in (False, True)},
}


def _sentence(facts: Facts) -> str:
    reason = (facts.reason or "").strip()[:REASON_LENGTH]
    match facts.rule:
        case Rule.REJECTED:
            return f"{facts.actor} rejected it: {reason}" if reason else f"{facts.actor} rejected it."
        case Rule.APPROVED:
            return f"{facts.actor} approved it; it is complete."
        case Rule.ASSIGNED:
            return f"{facts.actor} assigned it to you."
        case Rule.FAILED:
            return reason or "Its job has used up its attempts."
    return ""


def _title(text: str) -> str:
    """One line, as long as a subject may be."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_LENGTH else f"{line[: TITLE_LENGTH - 1]}…"


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def _moment(at: datetime, zone: tzinfo) -> str:
    local = at.astimezone(zone)
    return f"{_day(local.date())}, {local:%H:%M} {local.tzname()}"
