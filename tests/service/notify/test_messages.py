"""Stored words as their reader gets them."""

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from app.domain.notify.messages import localise, mail_html, zone_of
from app.domain.notify.rules import TELLINGS, Rule


@pytest.mark.parametrize(
    ("text", "zone", "read"),
    [
        ("Due 2026-10-30 17:00 UTC.", "Europe/Berlin", "Due 30 Oct 2026, 18:00 CET."),
        ("Due 2026-07-01 23:30 UTC.", "Asia/Tokyo", "Due 2 Jul 2026, 08:30 JST."),
        ("2026-01-05 09:00 UTC, 2026-07-05 09:00 UTC", "Europe/London", "5 Jan 2026, 09:00 GMT, 5 Jul 2026, 10:00 BST"),
        ("Trade 2026-99-99 17:00 UTC", "Europe/Berlin", "Trade 2026-99-99 17:00 UTC"),
        ("Due 0001-01-01 00:00 UTC", "America/New_York", "Due 0001-01-01 00:00 UTC"),
        ("Report 12026-10-30 17:00 UTCX", "Europe/Berlin", "Report 12026-10-30 17:00 UTCX"),
    ],
)  # fmt: skip
def test_moments_are_read_in_the_readers_zone_and_other_digits_are_left(text: str, zone: str, read: str) -> None:
    assert localise(text, ZoneInfo(zone)) == read


@pytest.mark.parametrize("name", [None, "", "Nowhere/Atall", "../etc/passwd"])
def test_a_zone_that_is_not_known_is_utc(name: str | None) -> None:
    assert zone_of(name) is UTC


def test_html_repeats_nothing_and_escapes_everything() -> None:
    html = mail_html(
        "Late: A & B", 'Late: A & B\n\n<script>alert("x")</script>\n\nhttps://steps.example/processes/1?a=1&b="2"\n'
    )
    assert html.count("Late: A &amp; B") == 1
    assert "<script>" not in html
    assert '<a href="https://steps.example/processes/1?a=1&amp;b=&quot;2&quot;"' in html


def test_everything_that_can_happen_has_words_and_somebody_to_tell() -> None:
    assert set(TELLINGS) == set(Rule)
    assert all(telling.waiting or telling.makers or telling.lead or telling.named for telling in TELLINGS.values())
