"""The metadata language: what a definition may say, and what is refused with which words."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from app.bootstrap import Runtime
from models import expressions
from models.fieldtypes import FIELD_TYPES, FieldError
from models.loader import DefinitionError, dump_entity, load_entity
from models.registry import Registry
from models.schema import FieldDef, FieldType, Option, ReferenceOptions
from tests.factories import SYSTEM

MINIMAL = "name: thing\nmodule: test\ntitle_field: label\nfields:\n  - {name: label, type: text, required: true}\n"


def test_every_shipped_definition_survives_the_way_to_yaml_and_back(registry: Registry) -> None:
    assert len(registry.entities) > 40
    for entity in registry.entities.values():
        assert load_entity(dump_entity(entity)) == entity


def test_the_entities_of_the_product_are_definitions(registry: Registry) -> None:
    assert {"workflow", "stage", "process", "user", "hierarchy", "file"} <= registry.entities.keys()


def test_every_field_type_has_a_kind_and_a_json_schema() -> None:
    assert set(FIELD_TYPES) == set(FieldType)
    field = FieldDef(
        id="f",
        name="f",
        label="F",
        type=FieldType.CHOICE,
        options=(Option(value="a", label="A"),),
        reference=ReferenceOptions(target="thing"),
    )
    for kind in FIELD_TYPES.values():
        assert isinstance(kind.json_schema(field), dict)


@pytest.mark.parametrize("name", ["metadata", "registry", "id", "row_version", "created_at"])
def test_a_reserved_field_name_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match="reserved"):
        load_entity(MINIMAL + f"  - {{name: {name}, type: text}}\n")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("  - {name: Label2, type: text}\n", "lower case"),
        ("  - {name: kind, type: choice}\n", "needs options"),
        ("  - {name: owner, type: reference}\n", "needs reference.target"),
        ("  - {name: sum, type: computed}\n", "needs computed"),
        ("  - {name: label, type: text}\n", "used twice"),
        ("  - {name: x, type: text, colour: red}\n", "Extra inputs"),
        ("constraints:\n  - {name: c, kind: unique, fields: [nope], message: m}\n", "not a field"),
    ],
)
def test_a_definition_that_contradicts_itself_is_refused_with_the_place(lines: str, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        load_entity(MINIMAL + lines, source="thing.yaml")


def _field(type_: FieldType, **more: object) -> FieldDef:
    return FieldDef.model_validate({"id": "f", "name": "f", "label": "F", "type": type_, **more})


@pytest.mark.parametrize(
    ("type_", "value", "parsed"),
    [
        (FieldType.INTEGER, "42", 42),
        (FieldType.INTEGER, 42.0, 42),
        (FieldType.DECIMAL, 0.1, Decimal("0.1")),
        (FieldType.DECIMAL, "1250.75", Decimal("1250.75")),
        (FieldType.EMAIL, "Ann@Bank.example", "ann@bank.example"),
        (FieldType.MONEY, {"amount": "12.50", "currency": "EUR"}, (Decimal("12.50"), "EUR")),
        (FieldType.DURATION, "PT1H30M", __import__("datetime").timedelta(minutes=90)),
    ],
)
def test_values_are_read_exactly(type_: FieldType, value: object, parsed: object) -> None:
    assert FIELD_TYPES[type_].parse(_field(type_), value) == parsed


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (FieldType.INTEGER, True),
        (FieldType.INTEGER, 1.5),
        (FieldType.INTEGER, str(2**63)),
        (FieldType.DECIMAL, "NaN"),
        (FieldType.DECIMAL, "1e400"),
        (FieldType.DECIMAL, "0." + "1" * 19),
        (FieldType.MONEY, {"amount": "1", "currency": "eur"}),
        (FieldType.MONEY, "1"),
        (FieldType.DATE, "2026-02-30"),
        (FieldType.DATETIME, "2026-10-30T16:00:00"),
        (FieldType.URL, "javascript:alert(1)"),
        (FieldType.EMAIL, "no at sign"),
        (FieldType.TEXT, "nul\x00"),
        (FieldType.TEXT, "x" * 256),
        (FieldType.REFERENCE, "not-a-uuid"),
        (FieldType.DURATION, "PT"),
        (FieldType.BOOLEAN, "yes"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_words(type_: FieldType, value: object) -> None:
    field = _field(type_, reference=ReferenceOptions(target="thing"))
    with pytest.raises(FieldError) as refused:
        FIELD_TYPES[type_].parse(field, value)
    assert len(str(refused.value)) > 8


@given(st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**19), max_value=10**19))
def test_an_amount_survives_the_way_to_json_and_back(value: Decimal) -> None:
    kind, field = FIELD_TYPES[FieldType.DECIMAL], _field(FieldType.DECIMAL)
    assert kind.parse(field, kind.to_json(value)) == value


@pytest.mark.parametrize("bad", ["__import__('os')", "a.b", "open(1)", "a[0]", "lambda: 1", "a if", "f'{a}'", "a ** 9"])
def test_an_expression_outside_the_grammar_is_refused(bad: str) -> None:
    with pytest.raises(expressions.ExpressionError):
        expressions.parse(bad)


EXPRESSIONS = (
    "a / b",
    "round(a / b, 2)",
    "a * b - 3.5",
    "-a if a < b else coalesce(n, a)",
    "abs(a) + least(a, b)",
    "greatest(a, b) if a <= b and not (a == b) else 0",
    "coalesce(n, b) * 2",
    "n + a",
)


async def test_sql_and_python_compute_the_same_to_the_last_digit(runtime: Runtime) -> None:
    samples = [("1000000", "1.1"), ("1", "3"), ("-7.25", "0.0004"), ("2", "0"), ("0.000000000000000001", "3")]
    async with runtime.uow(SYSTEM) as uow:
        for a, b in samples:
            values = {"a": Decimal(a), "b": Decimal(b), "n": None}
            for expression in EXPRESSIONS:
                sql = expressions.to_sql(expression, {"a": "a", "b": "b", "n": "n"})
                statement = text(
                    f"SELECT {sql} FROM (SELECT {a}::numeric AS a, {b}::numeric AS b, NULL::numeric AS n) v"
                )
                assert await uow.scalar(statement) == expressions.evaluate(expression, values), (expression, a, b)
