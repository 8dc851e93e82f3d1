"""What routes depend on: the running platform, who calls, and the unit of work that ends before the answer is sent."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request

from app.api.auth.dependencies import get_actor, get_user
from app.api.problems import request_id
from app.bootstrap import Runtime
from app.core.actor import Actor
from app.core.uow import UnitOfWork


def get_runtime(request: Request) -> Runtime:
    """The platform of this process."""
    runtime: Runtime = request.app.state.runtime
    return runtime


async def actor_of(request: Request) -> Actor:
    """Who calls, under the id of this request; a changing request has passed the check against forgery.

    Raises:
        Unauthenticated, Forbidden, RateLimited: see `app.api.auth.dependencies.get_user`.
    """
    actor = (await get_user(request)).actor
    assert actor is not None
    correlation_id = request_id(request)
    return actor if correlation_id is None else actor.correlated(correlation_id)


async def get_calling_actor(request: Request, _actor: Annotated[Actor, Depends(get_actor)]) -> Actor:
    """The same for routes that declare what they need: the dependency on `get_actor` describes how to sign in."""
    return await actor_of(request)


CallingActor = Annotated[Actor, Depends(get_calling_actor)]


async def get_uow(runtime: Annotated[Runtime, Depends(get_runtime)], actor: CallingActor) -> AsyncIterator[UnitOfWork]:
    """One transaction for the request."""
    async with runtime.uow(actor) as uow:
        yield uow


# With the default scope the commit would follow the answer: a client would be told of what then fails.
CurrentUow = Annotated[UnitOfWork, Depends(get_uow, scope="function")]
CurrentRuntime = Annotated[Runtime, Depends(get_runtime)]
