"""What of a job's arguments must not be read by people: values whose name says that they are secret."""

import re
from typing import Any

HIDDEN = "••••••"
_SECRET = re.compile(
    r"secret|passw|token|credential|authori[sz]ation|cookie|(api|private|access|signing)[_-]?key", re.IGNORECASE
)
_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def concealed(value: Any) -> Any:
    """Return the value with secrets replaced, at any depth; also the sign-in part of an address."""
    match value:
        case dict():
            return {
                name: HIDDEN if _SECRET.search(str(name)) and inner not in (None, "") else concealed(inner)
                for name, inner in value.items()
            }
        case list() | tuple():
            return [concealed(inner) for inner in value]
        case str():
            return _IN_ADDRESS.sub(HIDDEN, value)
        case _:
            return value
