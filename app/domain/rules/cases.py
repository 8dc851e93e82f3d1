"""Test cases of a rule, run: pure. A case names some facts and the answers that are expected for them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.core.errors import FieldProblem, StepsError, ValidationFailed
from app.domain.rules.compiled import CompiledRule, Outcome
from app.domain.rules.definitions import HitPolicy, RuleContent
from app.domain.rules.values import BadValue, read_value, shown

MAX_CASES = 500


class Case(BaseModel):
    """`expected`: a mapping of answers; for a rule that collects a list of them; None where no row is to fit."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    label: Annotated[str, Field(min_length=1, max_length=200)]
    input: Mapping[str, Any] = Field(default_factory=dict)
    expected: Mapping[str, Any] | list[Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class CaseResult:
    """`problem` says what differs, or why there is no answer; empty when the case passes."""

    label: str
    passed: bool
    problem: str = ""
    matched: tuple[str, ...] = ()
    answers: tuple[Mapping[str, Any], ...] = ()
    place: Mapping[str, str] = field(default_factory=dict)


def read_cases(data: Any) -> tuple[Case, ...]:
    """Read the cases of a draft. Raises ValidationFailed."""
    if not isinstance(data, list | tuple) or len(data) > MAX_CASES:
        raise ValidationFailed([FieldProblem("tests", f"give a list of at most {MAX_CASES} cases")])
    cases, problems = [], []
    for number, given in enumerate(data):
        try:
            cases.append(given if isinstance(given, Case) else Case.model_validate(given))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            message = "give the case a name" if place == "label" else first["msg"]
            problems.append(FieldProblem(f"tests.{number}.{place}", message))
    if problems:
        raise ValidationFailed(problems)
    return tuple(cases)


def run_cases(rule: CompiledRule, cases: Iterable[Case]) -> list[CaseResult]:
    """Run every case. None of them can raise: a case that cannot be evaluated fails and says why."""
    return [_run(rule, case) for case in cases]


def _run(rule: CompiledRule, case: Case) -> CaseResult:
    try:
        outcome = rule.evaluate(case.input)
    except StepsError as error:
        place = {key: str(value) for key, value in error.context.items() if key in ("row", "column")}
        return CaseResult(case.label, passed=False, problem=error.detail, place=place)
    problem = _difference(rule.content, case.expected, outcome)
    return CaseResult(case.label, not problem, problem, outcome.matched, outcome.answers)


def _difference(content: RuleContent, expected: Any, outcome: Outcome) -> str:
    if expected is None:
        return "" if not outcome.matched else "no row was expected to fit, and one does"
    if content.hit_policy is HitPolicy.FIRST and isinstance(expected, list):
        return "several answers are expected, and the rule gives one"
    wanted = expected if isinstance(expected, list) else [expected]
    if len(wanted) != len(outcome.answers):
        if not outcome.answers:
            return "no row fits"
        return f"{len(wanted)} rows were expected to fit, and {len(outcome.answers)} do"
    for number, (want, got) in enumerate(zip(wanted, outcome.answers, strict=True), 1):
        said = _one_difference(content, want, got)
        if said:
            return f"{said} (answer {number})" if len(wanted) > 1 else said
    return ""


def _one_difference(content: RuleContent, want: Mapping[str, Any], got: Mapping[str, Any]) -> str:
    if not want:
        return "no answer is expected; enter at least one"
    for name, given in want.items():
        output = content.output(name)
        if output is None:
            return f"{name} is no answer of this rule"
        try:
            value = None if given == "null" else read_value(output.type, given, options=output.options)
        except BadValue as error:
            return f"what is expected for {output.title} {error}"
        if value != got[name]:
            return f"{output.title} is {shown(got[name])}, {shown(value)} was expected"
    return ""
