"""What a person wants to be told, over which channels and when. Each sets their own; rules may be above it.

Stored with the user as one document, so that giving a notice costs no look beside the user's row:

{"channels": ["in_app", "email"], "digest": "now", "digest_at": "08:00",
 "quiet": {"from": "20:00", "until": "07:00", "weekends": true},
 "categories": {"warning": {"channels": ["in_app"], "digest": "hourly"}, "approval": {"muted": true}},
 "events": {"released": {"muted": true}}}

What an event says counts before its category, that before the rest; what nothing says is left to the rule. A mandatory
or critical rule always uses its own channels and cannot be muted or gathered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, update

from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.actors import changing_id, own_id
from app.domain.notify.rule_book import NotificationRule, rules_in_force
from app.domain.notify.rules import Channel, Kind
from app.domain.notify.times import Digest, read_clock

SETTINGS = "notification_settings"
_CHOICE_KEYS = frozenset({"channels", "digest", "muted"})
_TOP_KEYS = frozenset({"channels", "digest", "digest_at", "quiet", "categories", "events"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person gets of one kind of message in the end. `muted`: nothing of it."""

    channels: tuple[str, ...]
    digest: Digest = Digest.NOW
    muted: bool = False
    forced: bool = False


@dataclass(slots=True)
class _Problems:
    found: list[FieldProblem] = field(default_factory=list)

    def add(self, path: str, message: str) -> None:
        self.found.append(FieldProblem(path, message))


def wish_for(rule: NotificationRule, settings: Mapping[str, Any] | None) -> Wish:
    """Merge a rule with what a person wants: mandatory > event > category > global > the rule. Pure.

    `giving_sql.WISHES` is the same in SQL.
    """
    forced = rule.mandatory or rule.critical
    if settings is None:
        return Wish(rule.channels, forced=forced)
    levels = (
        settings.get("events", {}).get(rule.code, {}),
        settings.get("categories", {}).get(rule.telling.kind.value, {}),
        settings,
    )

    def said(name: str) -> Any:
        return next((level[name] for level in levels if level.get(name) is not None), None)

    wanted = said("channels")
    if forced:
        return Wish(tuple(dict.fromkeys((*rule.channels, *(wanted or ())))), forced=True)
    if said("muted"):
        return Wish((), muted=True)
    channels = rule.channels if wanted is None else tuple(wanted)
    return Wish(channels, Digest(said("digest") or Digest.NOW))


async def own_settings(uow: UnitOfWork) -> dict[str, Any]:
    """The actor's settings; empty where nothing was chosen."""
    users = uow.table("user")
    stored = await uow.scalar(select(users.c[SETTINGS]).where(users.c.id == own_id(uow)))
    return dict(stored or {})


async def save_settings(uow: UnitOfWork, given: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the actor's settings and return them as they are kept.

    Raises:
        ValidationFailed: with each part that cannot be, and what to write instead.
    """
    user_id = changing_id(uow)
    settings = read_settings(given, [rule for rules in rules_in_force(uow).by_event.values() for rule in rules])
    users = uow.table("user")
    chosen = select(users.c[SETTINGS]).where(users.c.id == user_id).with_for_update(key_share=True)
    before = await uow.scalar(chosen)
    if before == settings:
        return settings
    # No new row_version: an administrator's open form of this user must not go stale over it.
    await uow.execute(update(users).where(users.c.id == user_id).values({SETTINGS: settings or None}))
    entry = AuditEntry(
        command="user.prefer", entity="user", record_id=user_id, before={SETTINGS: before}, after={SETTINGS: settings}
    )
    uow.audit(entry)
    return settings


def read_settings(given: Mapping[str, Any], rules: Sequence[NotificationRule]) -> dict[str, Any]:
    """Check settings and return them without what says nothing. Pure. Raises ValidationFailed."""
    problems = _Problems()
    settings = _choice(given, "", problems, top=True)
    for unknown in sorted(set(given) - _TOP_KEYS):
        problems.add(unknown, "is not known")
    if given.get("digest_at"):
        _clock(given, "digest_at", "digest_at", settings, problems)
    quiet = given.get("quiet")
    if isinstance(quiet, Mapping):
        kept: dict[str, Any] = {}
        _clock(quiet, "from", "quiet.from", kept, problems)
        _clock(quiet, "until", "quiet.until", kept, problems)
        if quiet.get("weekends"):
            kept["weekends"] = True
        if kept.get("from") != kept.get("until") or kept.get("weekends"):
            settings["quiet"] = kept
        elif not problems.found:
            problems.add("quiet.until", "must differ from when quiet hours begin")
    elif quiet is not None:
        problems.add("quiet", "must name from and until")
    forced = {rule.code for rule in rules if rule.mandatory or rule.critical}
    known = {"categories": {kind.value for kind in Kind}, "events": {rule.code for rule in rules}}
    for level, names in known.items():
        chosen = given.get(level) or {}
        if not isinstance(chosen, Mapping):
            problems.add(level, "must name what is chosen for each")
            continue
        for name, choice in chosen.items():
            path = f"{level}.{name}"
            if name not in names:
                problems.add(path, "there is no such kind of message")
            elif not isinstance(choice, Mapping):
                problems.add(path, "must be a choice")
            else:
                kept = _choice(choice, f"{path}.", problems)
                if kept.get("muted") and level == "events" and name in forced:
                    problems.add(f"{path}.muted", "is mandatory and cannot be muted")
                if kept:
                    settings.setdefault(level, {})[name] = kept
    if problems.found:
        raise ValidationFailed(problems.found)
    return settings


def _choice(given: Mapping[str, Any], prefix: str, problems: _Problems, *, top: bool = False) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if not top:
        for unknown in sorted(set(given) - _CHOICE_KEYS):
            problems.add(f"{prefix}{unknown}", "is not known")
        if given.get("muted"):
            kept["muted"] = True
    channels = given.get("channels")
    if channels is not None:
        names = [channel.value for channel in Channel]
        if not isinstance(channels, list) or any(name not in names for name in channels):
            problems.add(f"{prefix}channels", f"must be some of {', '.join(names)}")
        elif not channels:
            problems.add(f"{prefix}channels", "choose at least one, or mute it")
        else:
            kept["channels"] = [name for name in names if name in channels]
    digest = given.get("digest")
    if digest:
        if digest not in set(Digest):
            problems.add(f"{prefix}digest", f"must be one of {', '.join(Digest)}")
        else:
            kept["digest"] = digest
    return kept


def _clock(given: Mapping[str, Any], name: str, path: str, kept: dict[str, Any], problems: _Problems) -> None:
    try:
        kept[name] = read_clock(str(given.get(name) or "")).strftime("%H:%M")
    except ValueError:
        problems.add(path, "must be a time of day, such as 08:00")
