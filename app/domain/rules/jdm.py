"""A decision table as a ZEN JDM graph with one table, for other engines and editors of that format: pure."""

from contextlib import suppress
from typing import Any

from app.domain.rules.cells import CellError, read_test, zen_cell
from app.domain.rules.compiled import column_field, numeric
from app.domain.rules.definitions import Column, RuleContent
from app.domain.rules.values import NUMBERS, ValueType

ROW = "_row"
INPUT, TABLE, OUTPUT = "facts", "table", "answers"


def to_jdm(content: RuleContent, *, exact: bool = False) -> dict[str, Any]:
    """The table as a graph. `exact`: numbers are answered as text, and `_row` says which row it was."""
    outputs = [{"id": f"o_{output.name}", "name": output.title, "field": output.name} for output in content.outputs]
    outputs += [{"id": f"o_{ROW}", "name": ROW, "field": ROW}] if exact else []
    return {
        "nodes": [
            _node(INPUT, "inputNode", 0),
            {
                **_node(TABLE, "decisionTableNode", 1),
                "content": {
                    "hitPolicy": content.hit_policy.value,
                    "inputs": [_input(content, column) for column in content.columns],
                    "outputs": outputs,
                    "rules": [_rule(content, number, exact=exact) for number in range(len(content.rows))],
                    "passThrough": False,
                    "inputField": None,
                    "outputPath": None,
                    "executionMode": "single",
                },
            },
            _node(OUTPUT, "outputNode", 2),
        ],
        "edges": [
            {"id": "facts_table", "sourceId": INPUT, "targetId": TABLE, "type": "edge"},
            {"id": "table_answers", "sourceId": TABLE, "targetId": OUTPUT, "type": "edge"},
        ],
    }


def _node(name: str, type_: str, place: int) -> dict[str, Any]:
    return {"id": name, "type": type_, "name": name, "position": {"x": 240 * place, "y": 0}}


def _input(content: RuleContent, column: Column) -> dict[str, Any]:
    tested = f"date({column.expression})" if column_field(content, column).type is ValueType.DATE else column.expression
    return {"id": f"i_{column.id}", "name": content.column_title(column), "field": tested}


def _rule(content: RuleContent, number: int, *, exact: bool) -> dict[str, str]:
    row = content.rows[number]
    known = tuple(fact.name for fact in content.inputs)
    cells = {}
    for column in content.columns:
        tested = column_field(content, column)
        cell = row.tests.get(column.id, "")
        with suppress(CellError):  # a draft with a fault is exported as it was typed
            cell = zen_cell(read_test(cell, tested, known), tested.type)
        cells[f"i_{column.id}"] = cell
    for output in content.outputs:
        cell = row.answers.get(output.name, "")
        cells[f"o_{output.name}"] = numeric(cell) if exact and cell and output.type in NUMBERS else cell
    cells |= {f"o_{ROW}": f"'{row.id}'"} if exact else {}
    return {"_id": row.id, "_description": row.note, **cells}
