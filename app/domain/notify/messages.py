"""How stored words become what a person reads: times in their own zone, and a mail as HTML."""

import re
from datetime import UTC, datetime, tzinfo
from html import escape

from app.domain.calendars.errors import UnknownZone
from app.domain.calendars.wall_time import zone_info

# Stored texts say when in UTC, which is right for every reader, and are read in the reader's own zone.
_MOMENT = re.compile(r"\b\d{4}-\d{2}-\d{2} \d{2}:\d{2} UTC\b", re.ASCII)


def zone_of(name: str | None) -> tzinfo:
    """The zone a person reads times in; UTC where theirs is not known."""
    try:
        return zone_info(name) if name else UTC
    except UnknownZone:
        return UTC


def localise(text: str, zone: tzinfo) -> str:
    """The text with each moment, such as `2026-10-30 17:00 UTC`, in this zone: `30 Oct 2026, 18:00 CET`."""
    return _MOMENT.sub(lambda found: _local(found[0], zone), text)


def _local(written: str, zone: tzinfo) -> str:
    try:
        at = datetime.strptime(written, "%Y-%m-%d %H:%M UTC").replace(tzinfo=UTC).astimezone(zone)
    except (ValueError, OverflowError):  # digits of a label that are no moment
        return written
    return f"{at.day} {at:%b %Y, %H:%M} {at.tzname()}"


def mail_html(subject: str, text: str) -> str:
    """The text of a mail as HTML, without anything that has to be loaded. The first line repeats the subject."""
    lines = [line for line in text.splitlines() if line and line != subject]
    body = "".join(f'<p style="margin:0 0 8px">{_linked(line)}</p>' for line in lines)
    return (
        '<!doctype html><html lang="en"><body style="margin:0;padding:24px;font:15px/1.5 sans-serif;color:#1b2733">'
        f'<h1 style="font-size:18px;margin:0 0 16px">{escape(subject)}</h1>{body}</body></html>'
    )


def _linked(line: str) -> str:
    if not line.startswith(("http://", "https://")):
        return escape(line)
    return f'<a href="{escape(line)}" style="color:#0b5cad">Open it in STEPS</a>'
