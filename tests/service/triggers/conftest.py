from collections.abc import AsyncIterator

import pytest

from app.bootstrap import Runtime
from tests.service.triggers.desk import Desk


@pytest.fixture
async def desk(runtime: Runtime) -> AsyncIterator[Desk]:
    built = await Desk(runtime).build()
    yield built
    await built.aclose()
