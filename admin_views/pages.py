"""A page of its own: what a feature lists in its ROUTES, and the site serves."""

from collections.abc import Sequence
from dataclasses import dataclass

from admin_views.visit import Endpoint


@dataclass(frozen=True, slots=True)
class PageRoute:
    """An address and what answers it: `async def page(visit: Visit) -> Response`. Changes are POST, never GET."""

    path: str
    endpoint: Endpoint
    methods: Sequence[str] = ("GET",)
