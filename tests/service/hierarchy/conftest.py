"""The small tree of these tests."""

import pytest

from app.bootstrap import Runtime
from tests.service.hierarchy.trees import Desks


@pytest.fixture
async def desks(runtime: Runtime) -> Desks:
    return await Desks(runtime).build()
