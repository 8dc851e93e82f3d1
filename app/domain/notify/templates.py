"""The language of templates: Jinja, cut down to what words need, so that no template can run long or reach anything.

{{ process.label }}   a value; process, run, record, recipient, actor, event, title, text, link and now are there
{% if %}, {% for %}   a loop is not nested, and goes over what a record has; nothing can be called, imported or set

What a template names is checked when it is saved, against the fields that the entity has. Times are in the recipient's
own zone by the filter `moment`, numbers in their own way by `number` and `money`. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, nodes
from jinja2.environment import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.core.errors import FieldProblem, ValidationFailed

LONGEST_SOURCE = 20_000
LONGEST_TEXT = 60_000
LONGEST_SUBJECT = 300
PARTS = ("subject", "text_body", "html_body", "in_app_body")
VARIABLES = ("event", "title", "text", "link", "now", "recipient", "actor", "process", "run", "record")

_ALLOWED: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem,
    nodes.Filter, nodes.Test, nodes.If, nodes.For, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or,
    nodes.Not, nodes.Concat, nodes.Add, nodes.Sub, nodes.Neg, nodes.Keyword, nodes.List, nodes.Tuple,
)  # fmt: skip
_FILTERS = (
    "capitalize", "default", "d", "e", "escape", "first", "join", "last", "length", "lower", "round", "title", "trim",
    "truncate", "upper", "moment", "day", "number", "money",
)  # fmt: skip
_TESTS = ("defined", "undefined", "none", "equalto", "eq", "ne", "in", "string", "number", "odd", "even")


class TemplateRefused(Exception):
    """A template cannot be read or filled in; the text says why, and where."""


@dataclass(frozen=True, slots=True)
class Words:
    """A message in a person's words; None: the built-in words stand there."""

    subject: str | None
    text_body: str | None
    html_body: str | None
    in_app_body: str | None


def _environment(*, html: bool) -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(autoescape=html, undefined=StrictUndefined, trim_blocks=True)
    made.globals.clear()
    own = {"moment": _moment, "day": _day, "number": _number, "money": _number, "join": _join}
    made.filters = {name: own.get(name) or made.filters[name] for name in _FILTERS}
    made.tests = {name: made.tests[name] for name in _TESTS}
    return made


def _moment(value: Any, zone: tzinfo = UTC) -> str:
    """`30 Oct 2026, 18:00 CET`."""
    if not isinstance(value, datetime):
        return "" if value is None else str(value)
    at = value.astimezone(zone)
    return f"{at.day} {at:%b %Y, %H:%M} {at.tzname()}"


def _join(values: Any, between: str = ", ") -> str:
    """Jinja's own could be made to write gigabytes by a long text between many values."""
    return str(between)[:20].join(str(value) for value in list(values)[:1_000])


def _day(value: Any) -> str:
    return f"{value.day} {value:%b %Y}" if isinstance(value, date) else str(value or "")


def _number(value: Any, places: int = 2) -> str:
    try:
        return f"{Decimal(str(value)):,.{max(0, min(int(places), 12))}f}"
    except (ArithmeticError, ValueError, TypeError):
        return "" if value is None else str(value)


_TEXT, _HTML = _environment(html=False), _environment(html=True)


@lru_cache(maxsize=512)
def compiled(source: str, *, html: bool = False) -> Template:
    """Read a template. Raises TemplateRefused for what cannot be read or is not allowed."""
    if len(source) > LONGEST_SOURCE:
        raise TemplateRefused(f"a template has at most {LONGEST_SOURCE:,} characters")
    environment = _HTML if html else _TEXT
    try:
        tree = environment.parse(source)
        _check(tree, loops=0)
        return environment.from_string(source)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise TemplateRefused(f"{error.message or error}{f' (line {line})' if line else ''}") from None


def _check(node: nodes.Node, *, loops: int) -> None:
    for child in node.iter_child_nodes():
        line = f" (line {child.lineno})" if child.lineno else ""
        if not isinstance(child, _ALLOWED):
            raise TemplateRefused(f"{_construct(child)} is not available in templates{line}")
        if isinstance(child, nodes.For):
            if loops:
                raise TemplateRefused(f"a loop inside a loop is not available in templates{line}")
            if child.recursive:
                raise TemplateRefused(f"a recursive loop is not available in templates{line}")
        name = child.attr if isinstance(child, nodes.Getattr) else None
        if isinstance(child, nodes.Getitem) and isinstance(child.arg, nodes.Const):
            name = str(child.arg.value)
        if isinstance(child, nodes.Name):
            name = child.name
        if name is not None and name.startswith("_"):
            raise TemplateRefused(f"{name} cannot be used: names begin with a letter{line}")
        if isinstance(child, nodes.Filter) and child.name not in _FILTERS:
            raise TemplateRefused(f"there is no filter {child.name}; there are {', '.join(sorted(_FILTERS))}{line}")
        if isinstance(child, nodes.Test) and child.name not in _TESTS:
            raise TemplateRefused(f"there is no test {child.name}{line}")
        _check(child, loops=loops + isinstance(child, nodes.For))


def _construct(node: nodes.Node) -> str:
    names = {"Call": "calling a function", "Assign": "set", "AssignBlock": "set", "Mul": "multiplication"}
    return names.get(type(node).__name__, type(node).__name__.lower())


def fill(source: str, context: Mapping[str, Any], *, html: bool = False) -> str:
    """Fill a template in. Raises TemplateRefused, also for a result that is too long."""
    template, parts, size = compiled(source, html=html), [], 0
    try:
        for part in template.generate(dict(context)):
            parts.append(part)
            size += len(part)
            if size > LONGEST_TEXT:
                raise TemplateRefused(f"the message would be longer than {LONGEST_TEXT:,} characters")
    except TemplateRefused:
        raise
    except Exception as error:  # whatever an expression does to a value it was not meant for
        raise TemplateRefused(str(error) or type(error).__name__) from None
    return "".join(parts)


def word(version: Mapping[str, Any], context: Mapping[str, Any]) -> Words:
    """The message of a version. Raises TemplateRefused."""

    def part(name: str) -> str | None:
        source = version.get(name)
        return fill(source, context, html=name == "html_body") if source else None

    subject = part("subject")
    if subject is not None:
        subject = " ".join(subject.split())[:LONGEST_SUBJECT]
        if not subject:
            raise TemplateRefused("the subject would be empty")
    return Words(subject, part("text_body"), part("html_body"), part("in_app_body"))


def check_parts(given: Mapping[str, Any], sample: Mapping[str, Any]) -> None:
    """Refuse what cannot be used, part by part, by filling it in for a sample.

    Raises:
        ValidationFailed: with the part and what to write instead.
    """
    problems: list[FieldProblem] = []
    for name in PARTS:
        source = given.get(name) or ""
        try:
            written = fill(source, sample, html=name == "html_body")
        except TemplateRefused as error:
            problems.append(FieldProblem(name, _helpful(str(error))))
            continue
        if name == "html_body" and re.search(r"<\s*(script|iframe|object|embed|form)\b", written, re.IGNORECASE):
            problems.append(FieldProblem(name, "scripts, frames and forms do not belong into a message"))
    if not any((given.get(name) or "").strip() for name in PARTS):
        problems.append(FieldProblem("subject", "write at least one part of the message"))
    if problems:
        raise ValidationFailed(problems)


def _helpful(text: str) -> str:
    found = re.fullmatch(r"'(\w+)' is undefined", text)
    if found and found[1] not in VARIABLES:
        return f"there is no {found[1]}; there are {', '.join(VARIABLES)}"
    return text
