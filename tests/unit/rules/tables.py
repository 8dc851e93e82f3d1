"""Small rules to test with."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.rules.definitions import RuleContent, read_content

INPUTS = [
    {"name": "pnl", "type": "decimal"},
    {"name": "desk", "type": "text"},
]
OUTPUTS: list[dict[str, Any]] = [
    {"name": "severity", "type": "choice", "options": ["low", "medium", "high"], "required": False}
]


def table(
    rows: Sequence[tuple[Mapping[str, str], Mapping[str, str]]],
    *,
    inputs: Sequence[Mapping[str, Any]] = INPUTS,
    outputs: Sequence[Mapping[str, Any]] = OUTPUTS,
    columns: Mapping[str, str | Mapping[str, Any]] | None = None,
    hit_policy: str = "first",
) -> RuleContent:
    """Rows are (tests by column, answers). Without `columns` there is one for each input."""
    given = columns or {str(field["name"]): str(field["name"]) for field in inputs}
    written = [
        {"id": id_, **({"expression": column} if isinstance(column, str) else column)} for id_, column in given.items()
    ]
    return read_content(
        {
            "hit_policy": hit_policy,
            "inputs": list(inputs),
            "outputs": list(outputs),
            "columns": written,
            "rows": [{"id": f"r{n}", "tests": t, "answers": a} for n, (t, a) in enumerate(rows, 1)],
        }
    )
