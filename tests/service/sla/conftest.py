import pytest

from app.bootstrap import Runtime
from tests.service.sla.close import NOON, Close


@pytest.fixture
async def close(runtime: Runtime) -> Close:
    """The bank of the workflow tests, at noon of its business day."""
    built = Close(runtime)
    await built.at(NOON)
    await built.build()
    return built
