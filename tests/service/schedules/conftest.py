import pytest

from app.bootstrap import Runtime
from tests.service.schedules.office import Office


@pytest.fixture
async def office(runtime: Runtime) -> Office:
    return await Office(runtime).build()
