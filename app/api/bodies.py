"""Read what a client sends, write what it gets: JSON without a number that was rounded on the way."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.core.errors import FieldProblem, InvalidRequest, UnsupportedMedia, ValidationFailed
from models.registry import Registry
from models.schema import EntityDef, FieldType

# A double holds every decimal number of so many digits, and not all longer ones.
EXACT_DIGITS = 15
EXACT_TYPES = frozenset({FieldType.DECIMAL, FieldType.MONEY, FieldType.PERCENT})
JSON_TYPES = frozenset({"application/json", "application/merge-patch+json"})


async def read_json(request: Request) -> Any:
    """The body as JSON. Raises UnsupportedMedia, InvalidRequest."""
    require_json(request)
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None


def require_json(request: Request) -> None:
    """Raises UnsupportedMedia. A form of another site cannot send this content type without being asked first."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in JSON_TYPES:
        raise UnsupportedMedia(f"Send JSON with Content-Type: application/json, not {given or 'nothing'}.")


def require_object(body: Any, what: str = "The body") -> dict[str, Any]:
    """Raises InvalidRequest."""
    if not isinstance(body, dict):
        raise InvalidRequest(f'{what} must be a JSON object such as {{"name": "value"}}.')
    return body


def require_exact(values: Mapping[str, Any], entity: EntityDef, registry: Registry, prefix: str = "") -> None:
    """Refuse amounts that were sent as JSON numbers of more digits than JSON readers keep.

    Raises:
        ValidationFailed: with the path of each such number.
    """
    problems = _inexact(values, entity, registry, prefix)
    if problems:
        raise ValidationFailed(problems)


def _inexact(values: Mapping[str, Any], entity: EntityDef, registry: Registry, prefix: str) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    for name, value in values.items():
        if type(value) not in (float, dict, list) or not entity.has_field(name):
            continue
        field = entity.field(name)
        if field.type in EXACT_TYPES:
            number = value.get("amount") if isinstance(value, dict) else value
            if isinstance(number, float) and _digits(number) > EXACT_DIGITS:
                message = f'has more than {EXACT_DIGITS} digits: send it as text, for example "1250.75", to keep them'
                problems.append(FieldProblem(f"{prefix}{name}", message, "inexact"))
        elif field.type is FieldType.LINES and isinstance(value, list) and field.target:
            child = registry.entity(field.target)
            for number_, line in enumerate(value):
                if isinstance(line, dict):
                    problems += _inexact(line, child, registry, f"{prefix}{name}.{number_}.")
    return problems


def _digits(number: float) -> int:
    return len(Decimal(repr(number)).normalize().as_tuple().digits)


def json_response(
    content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None, dumped: bytes | None = None
) -> Response:
    """An answer of plain JSON values; ids and instants may still be themselves."""
    body = dumped if dumped is not None else orjson.dumps(content, default=str)
    return Response(body, status_code=status, headers=headers, media_type="application/json")
