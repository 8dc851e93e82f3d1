"""The shipped policy as it stands in `policies/`: read, checked, and nothing more."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

POLICIES = Path(__file__).resolve().parents[3] / "policies"
MODEL = POLICIES / "model.conf"
PLATFORM = "PLATFORM"
ANY = "*"

_NOT_LINES = frozenset({"field_groups.csv", "conflicts.csv"})


class PolicyFileError(ValueError):
    """A policy file cannot be used; the message names the file, the line and what to write instead."""


class Effect(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


class FieldMode(StrEnum):
    MASK = "mask"
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """One line of the policy; `source` says where it stands and is not part of what it means."""

    role: str
    application: str
    entity: str
    action: str
    effect: Effect = Effect.ALLOW
    source: str = field(default="", compare=False)
    words: str = field(default="", init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Every decision names its line, so that the words are made once and not at each decision.
        place = "in every application" if self.application == ANY else f"in {self.application}"
        words = f"{self.effect} {self.role} {place}: {self.action} {self.entity} ({self.source})"
        object.__setattr__(self, "words", words)

    @property
    def denies(self) -> bool:
        return self.effect is Effect.DENY

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True, slots=True)
class Inheritance:
    """In the application, the role also has what `parent` has."""

    role: str
    parent: str
    application: str


@dataclass(frozen=True, slots=True)
class RoleDef:
    code: str
    label: str
    description: str


@dataclass(frozen=True, slots=True)
class RowCondition:
    """Limits the role's grants on an entity to the rows that fit the filter. No actions: all of them."""

    role: str
    application: str
    entity: str
    actions: frozenset[str]
    condition: dict[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two roles one person must not hold together, and why."""

    role: str
    other: str
    reason: str


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    lines: tuple[PolicyLine, ...] = ()
    inheritance: tuple[Inheritance, ...] = ()
    roles: tuple[RoleDef, ...] = ()
    row_conditions: tuple[RowCondition, ...] = ()
    field_groups: dict[tuple[str, str], str] = field(default_factory=dict)  # (entity, field) -> access group
    field_access: dict[tuple[str, str], FieldMode] = field(default_factory=dict)  # (role, access group) -> mode
    conflicts: tuple[Conflict, ...] = ()


def read_policy_files(folder: Path = POLICIES) -> PolicyFiles:
    """Read every file of the folder. Raises PolicyFileError."""
    lines: list[PolicyLine] = []
    inheritance: list[Inheritance] = []
    roles: list[RoleDef] = []
    for path in sorted(folder.glob("*.csv")):
        if path.name in _NOT_LINES:
            continue
        for place, row in _rows(path):
            match row:
                case ["p", role, application, entity, action, ("allow" | "deny") as effect]:
                    lines.append(PolicyLine(role, application, entity, action, Effect(effect), place))
                case ["g", role, parent, application]:
                    inheritance.append(Inheritance(role, parent, application))
                case ["role", code, label, description]:
                    roles.append(RoleDef(code, label, description))
                case _:
                    raise PolicyFileError(
                        f"{place}: write `p, role, application, entity, action, allow|deny`, "
                        "`g, role, inherits from, application` or `role, code, label, description`"
                    )
    groups, access = _field_rules(folder / "field_groups.csv")
    conditions = tuple(_row_conditions(folder / "row_conditions.yaml"))
    conflicts = tuple(_conflicts(folder / "conflicts.csv"))
    return PolicyFiles(tuple(lines), tuple(inheritance), tuple(roles), conditions, groups, access, conflicts)


def _rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="") as text:
        reader = csv.reader(text, skipinitialspace=True)
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells) or cells[0].startswith("#"):
                continue
            place = f"policies/{path.name} line {reader.line_num}"
            if not all(cells):
                raise PolicyFileError(f"{place}: a value is missing; write * for any")
            yield place, cells


def _field_rules(path: Path) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], FieldMode]]:
    groups: dict[tuple[str, str], str] = {}
    access: dict[tuple[str, str], FieldMode] = {}
    for place, row in _rows(path):
        match row:
            case ["group", entity, name, group] if group not in ("standard", "internal"):
                groups[entity, name] = group
            case ["access", role, group, ("read" | "write" | "mask") as mode] if group not in ("standard", "internal"):
                access[role, group] = FieldMode(mode)
            case _:
                raise PolicyFileError(
                    f"{place}: write `group, entity, field, access group` or `access, role, access group, "
                    "read|write|mask`; the groups standard and internal are fixed"
                )
    return groups, access


def _conflicts(path: Path) -> Iterator[Conflict]:
    for place, row in _rows(path):
        if len(row) != 3 or row[0] == row[1]:
            raise PolicyFileError(f"{place}: write `role, other role, reason`")
        yield Conflict(*row)


def _row_conditions(path: Path) -> Iterator[RowCondition]:
    if not path.exists():
        return
    try:
        entries = yaml.safe_load(path.read_text("utf-8")) or []
    except yaml.YAMLError as error:
        raise PolicyFileError(f"policies/{path.name}: not YAML: {error}") from error
    for number, entry in enumerate(entries, start=1):
        place = f"policies/{path.name} entry {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("condition"), dict):
            raise PolicyFileError(f"{place}: write role, entity and condition, a filter such as {{user: $me}}")
        unknown = entry.keys() - {"role", "application", "entity", "actions", "condition"}
        if unknown or not entry.get("entity") or not isinstance(entry.get("actions", []), list):
            raise PolicyFileError(f"{place}: it has role, application, entity, actions (a list) and condition only")
        yield RowCondition(
            role=str(entry.get("role", ANY)),
            application=str(entry.get("application", ANY)),
            entity=str(entry["entity"]),
            actions=frozenset(map(str, entry.get("actions", []))),
            condition=entry["condition"],
        )
