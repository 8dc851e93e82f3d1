"""The language of templates: what it can say, and that it can neither reach anything nor run long."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.core.errors import ValidationFailed
from app.domain.notify.templates import TemplateRefused, check_parts, fill, word

CONTEXT: dict[str, Any] = {
    "process": {"label": "Load <rates>", "due_at": datetime(2026, 10, 30, 17, tzinfo=UTC), "critical": True},
    "run": {"label": "FX close"},
    "recipient": {"name": "Ada"},
    "record": {"amount": "1234567.891", "tags": ["a", "b"]},
}


def test_values_conditions_loops_and_filters_make_a_message() -> None:
    source = (
        "{{ process.label }}{% if process.critical %} (critical){% endif %}, due {{ process.due_at | moment }}: "
        "{% for tag in record.tags %}{{ loop.index }}{{ tag }} {% endfor %}{{ record.amount | money }}"
    )
    assert fill(source, CONTEXT) == "Load <rates> (critical), due 30 Oct 2026, 17:00 UTC: 1a 2b 1,234,567.89"


def test_values_are_escaped_in_html_and_nowhere_else() -> None:
    assert fill("<b>{{ process.label }}</b>", CONTEXT, html=True) == "<b>Load &lt;rates&gt;</b>"
    assert fill("{{ process.label }}", CONTEXT) == "Load <rates>"


@pytest.mark.parametrize(
    "source",
    [
        "{{ process.__class__ }}",
        "{{ process['__class__'] }}",
        "{{ process['__cl' ~ 'ass__'] }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ process.keys() }}",
        "{{ range(10) }}",
        "{{ process | attr('label') }}",
        "{{ 'a' * 1000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{% set a = 1 %}",
        "{% with a = 1 %}{% endwith %}",
        "{% include 'x' %}",
        "{% import 'x' as x %}",
        "{% extends 'x' %}",
        "{% macro a() %}{% endmacro %}",
        "{% for a in record.tags %}{% for b in record.tags %}x{% endfor %}{% endfor %}",
        "{% for a in record.tags recursive %}{% endfor %}",
        "{{ 'x' | center(1000000000) }}",
        "{{ process.lable }}",
        "{{ nothing }}",
        "{% if %}",
        "{{ unclosed",
        "x" * 20_001,
    ],
)
def test_what_is_not_part_of_the_language_is_refused_with_a_reason(source: str) -> None:
    with pytest.raises(TemplateRefused) as refused:
        fill(source, CONTEXT)
    assert str(refused.value)


def test_a_message_that_grows_too_long_is_refused() -> None:
    with pytest.raises(TemplateRefused, match="longer than"):
        fill("{% for a in many %}0123456789{% endfor %}", {"many": list(range(10_000))})


def test_a_subject_is_one_line_and_never_empty() -> None:
    made = word({"subject": "Due:\n  {{ process.label }}"}, CONTEXT)
    assert (made.subject, made.text_body) == ("Due: Load <rates>", None)
    with pytest.raises(TemplateRefused, match="empty"):
        word({"subject": "{% if not process.critical %}x{% endif %}"}, CONTEXT)


def test_every_broken_part_is_named_when_a_template_is_saved() -> None:
    with pytest.raises(ValidationFailed) as refused:
        check_parts(
            {"subject": "{{ who }}", "text_body": "{{ process.x }}", "html_body": "<script>1</script>"}, CONTEXT
        )
    assert [problem.path for problem in refused.value.problems] == ["subject", "text_body", "html_body"]
    assert "there is no who" in refused.value.problems[0].message
    with pytest.raises(ValidationFailed, match="at least one part"):
        check_parts({"subject": " "}, CONTEXT)
