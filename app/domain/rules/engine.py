"""ZEN, compiled and run: the only module that knows the engine. Its errors become sentences, and none is swallowed."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import orjson
import zen

MAX_FORMULA = 1_000
_SOURCE = re.compile(r"\{.*\}")
_SAID = {
    "Incomplete parser output": "cannot be read to its end",
    "Number overflow": "computes a number that is too large",
}
_PLACE = re.compile(r" at \((\d+), \d+\)")


_T = TypeVar("_T")


class ZenError(ValueError):
    """The engine cannot read or run a formula; the message is one sentence without a stack."""


@lru_cache(maxsize=16_384)
def compile_test(text: str) -> "zen.Expression":
    """A cell that tests `$`, the value of its column. Raises ZenError."""
    return _guarded(lambda: zen.compile_unary_expression(_limited(text)))


@lru_cache(maxsize=16_384)
def compile_formula(text: str) -> "zen.Expression":
    """A formula that computes. Raises ZenError."""
    return _guarded(lambda: zen.compile_expression(_limited(text)))


def run(compiled: "zen.Expression", context: str) -> Any:
    """Evaluate with the facts of `context`, a JSON object. Raises ZenError."""
    return _guarded(lambda: compiled.evaluate(context))


def _limited(text: str) -> str:
    if len(text) > MAX_FORMULA:
        raise ZenError(f"is longer than {MAX_FORMULA} characters")
    return text


def _guarded(work: Callable[[], _T]) -> _T:
    try:
        return work()
    except ZenError:
        raise
    except Exception as error:
        raise ZenError(_sentence(str(error))) from None
    except BaseException as error:  # a panic of the engine is no Exception, and must not end the process
        if type(error).__name__ != "PanicException":
            raise
        raise ZenError("the engine cannot evaluate it") from None


def _sentence(text: str) -> str:
    first = text.splitlines()[0] if text else ""
    found = _SOURCE.search(first)
    try:
        said = str(orjson.loads(found.group())["source"]) if found else first
    except (orjson.JSONDecodeError, KeyError, TypeError):
        said = first
    for theirs, ours in _SAID.items():
        if theirs in said:
            return ours
    if "Unsupported type" in said:
        return "compares or computes with values of different kinds"
    said = _PLACE.sub(lambda place: f" (character {int(place.group(1)) + 1})", said)
    return said[:200] or "cannot be read"
