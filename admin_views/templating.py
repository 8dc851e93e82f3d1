"""The templates, compiled once; pages are drawn from plain values that Python has prepared."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.responses import HTMLResponse

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE / "templates"
STATIC = HERE / "static"


@lru_cache(maxsize=1)
def environment() -> Environment:
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)


@lru_cache(maxsize=1)
def asset_version() -> str:
    """A fingerprint of the static files, so that a browser keeps each version for a year and never an old one."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file() and "node_modules" not in path.parts:
            digest.update(f"{path.relative_to(STATIC)}:{path.stat().st_size}:{path.stat().st_mtime_ns};".encode())
    return digest.hexdigest()[:12]


def render(template: str, context: Mapping[str, Any], *, status: int = 200) -> HTMLResponse:
    """Draw a template. Pages show data of one person: nobody on the way may keep them."""
    html = environment().get_template(template).render(context)
    return HTMLResponse(html, status_code=status, headers={"cache-control": "no-store"})
