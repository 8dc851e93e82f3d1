"""The merge of what a person wants with what rules demand, and what can be chosen."""

from dataclasses import replace
from typing import Any

import pytest

from app.core.errors import ValidationFailed
from app.domain.notify.preferences import read_settings, wish_for
from app.domain.notify.rule_book import NotificationRule, shipped_rules
from app.domain.notify.rules import Channel
from app.domain.notify.times import Digest

RULES = {rule.code: rule for rule in shipped_rules()}
WARNING: NotificationRule = RULES["warning"]
EVERY_LEVEL: dict[str, Any] = {
    "channels": ["in_app"],
    "digest": "daily",
    "categories": {"warning": {"channels": ["email"], "digest": "hourly"}},
    "events": {"warning": {"channels": ["chat"], "digest": "now"}},
}


def test_an_event_counts_before_its_category_that_before_the_rest_and_all_before_the_rule() -> None:
    assert wish_for(WARNING, None).channels == ("in_app", "email")
    wish = wish_for(WARNING, EVERY_LEVEL)
    assert (wish.channels, wish.digest) == (("chat",), Digest.NOW)
    wish = wish_for(WARNING, {**EVERY_LEVEL, "events": {}})
    assert (wish.channels, wish.digest) == (("email",), Digest.HOURLY)
    wish = wish_for(RULES["breach"], EVERY_LEVEL)
    assert (wish.channels, wish.digest) == (("in_app",), Digest.DAILY)


def test_each_thing_is_merged_by_itself() -> None:
    settings = {"digest": "daily", "events": {"warning": {"channels": ["chat"]}}}
    wish = wish_for(WARNING, settings)
    assert (wish.channels, wish.digest) == (("chat",), Digest.DAILY)


@pytest.mark.parametrize("strict", [{"mandatory": True}, {"critical": True}])
def test_what_is_mandatory_or_critical_uses_its_channels_and_cannot_be_muted_or_gathered(
    strict: dict[str, Any],
) -> None:
    rule = replace(WARNING, channels=(Channel.EMAIL.value,), **strict)
    wish = wish_for(rule, {**EVERY_LEVEL, "categories": {"warning": {"muted": True}}, "events": {}})
    assert wish.channels == ("email", "in_app")
    assert (wish.muted, wish.digest) == (False, Digest.NOW)
    assert wish_for(WARNING, {"categories": {"warning": {"muted": True}}}).muted


def test_settings_are_kept_without_what_says_nothing() -> None:
    given = {
        "channels": ["email", "in_app"], "digest": "", "digest_at": "07:30",
        "quiet": {"from": "20:00", "until": "06:00", "weekends": False},
        "categories": {"warning": {}, "breach": {"muted": True}}, "events": {},
    }  # fmt: skip
    assert read_settings(given, shipped_rules()) == {
        "channels": ["in_app", "email"],
        "digest_at": "07:30",
        "quiet": {"from": "20:00", "until": "06:00"},
        "categories": {"breach": {"muted": True}},
    }


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"channels": ["pigeon"]}, "channels"),
        ({"channels": []}, "channels"),
        ({"digest": "weekly"}, "digest"),
        ({"digest_at": "25:00"}, "digest_at"),
        ({"muted": True}, "muted"),
        ({"quiet": {"from": "20:00"}}, "quiet.until"),
        ({"quiet": {"from": "20:00", "until": "20:00"}}, "quiet.until"),
        ({"categories": {"nix": {}}}, "categories.nix"),
        ({"events": {"warning": {"loud": True}}}, "events.warning.loud"),
    ],
)
def test_what_cannot_be_chosen_is_refused_at_its_place(given: dict[str, Any], path: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        read_settings(given, shipped_rules())
    assert path in [problem.path for problem in refused.value.problems]


def test_a_mandatory_event_cannot_be_muted() -> None:
    rules = [replace(rule, mandatory=rule.code == "breach") for rule in shipped_rules()]
    with pytest.raises(ValidationFailed, match="mandatory"):
        read_settings({"events": {"breach": {"muted": True}}}, rules)
