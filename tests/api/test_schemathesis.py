"""Requests made up from the description, fitting and unfitting ones: none of them makes the server fail."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.result import Ok

from app.api.openapi import describe
from tests.api.conftest import BASE, V1, Api
from tests.api.rows import Rows
from tests.factories import SYSTEM

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
PARTS = 6
EXAMPLES = 4
BOUNDED = hypothesis_settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# These would end the session or the token by which the requests are made.
LEFT_OUT = (f"{V1}/auth/sign-out", f"{V1}/auth/sessions", f"{V1}/auth/tokens/{{token_id}}")


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_request_makes_the_server_fail_or_answer_otherwise_than_described(api: Api, part: int) -> None:
    """Every operation, each with requests that fit its description and with ones that do not, half on real records."""
    async with api.runtime.uow(SYSTEM) as uow:
        boss = api.people["boss"].id
        assert boss is not None
        rows = Rows(uow, lambda _entity: "fuzz", {"application": api.applications["PNL"], "user": boss})
        await rows.make_all()
    by_slug = {entity.slug: rows.ids.get(entity.name) for entity in api.runtime.registry.entities.values()}
    document = describe(api.app, api.runtime.registry)
    paths = sorted(path for path in document["paths"] if path not in LEFT_OUT)[part::PARTS]
    document["paths"] = {path: document["paths"][path] for path in paths}
    schema = schemathesis.openapi.from_dict(document)
    loop = asyncio.get_running_loop()
    client = api.as_("boss")
    asked: list[int] = []

    def send(case: schemathesis.Case[Any], id_: UUID | None) -> None:
        if id_ is not None and "id" in case.path_parameters:
            case.path_parameters["id"] = str(id_)
        request = requests.Request(**case.as_transport_kwargs(base_url=BASE)).prepare()
        answer = asyncio.run_coroutine_threadsafe(_sent(client, request), loop).result(60)
        asked.append(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    def fuzz() -> None:
        for result in schema.get_all_operations():
            assert isinstance(result, Ok), result
            operation = result.ok()
            real = by_slug.get(operation.path.removeprefix(V1).split("/")[1])
            for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
                strategy = operation.as_strategy(generation_mode=mode)

                @given(case=strategy, id_=st.sampled_from([real, None]))
                @BOUNDED
                def one(case: schemathesis.Case[Any], id_: UUID | None) -> None:
                    send(case, id_)

                try:
                    one()
                except Unsatisfiable:
                    continue  # nothing can be said about this operation that would not fit

    await asyncio.to_thread(fuzz)
    assert len(asked) > len(paths) * EXAMPLES
    assert any(status < 300 for status in asked)


async def _sent(client: httpx.AsyncClient, prepared: Any) -> httpx.Response:
    headers = {
        name: value for name, value in prepared.headers.items() if name.lower() not in ("cookie", "authorization")
    }
    request = client.build_request(prepared.method, prepared.url, content=prepared.body)
    request.headers.update({name: _text(value) for name, value in headers.items()})
    return await client.send(request)


def _text(value: str | bytes) -> str:
    """A header as this client can send it: other letters than those of ASCII become question marks."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return text.encode("ascii", "replace").decode()
