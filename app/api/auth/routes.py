"""The routes of one's own account: sign-in and sign-out, who am I, sessions, access tokens, password."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response, status
from fastapi.security import OAuth2PasswordRequestForm

from app.api.auth.backends import SESSION_COOKIE, session_backend, session_strategy
from app.api.auth.dependencies import CurrentActor, CurrentUser, check_origin
from app.api.auth.schemas import (
    EndedOutput,
    GrantOutput,
    MeOutput,
    NewTokenOutput,
    OwnSessionOutput,
    PasswordInput,
    SessionOutput,
    SignedInOutput,
    SignInInput,
    TokenInput,
    TokenOutput,
)
from app.api.auth.users import UserManager, client_ip
from app.bootstrap import Runtime
from app.domain.access import sessions, tokens
from app.domain.access.sign_in import change_own_password
from app.domain.access.sign_in import sign_out as end_session_of

router = APIRouter(prefix="/api/v1/auth", tags=["auth"])


def get_runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


CurrentRuntime = Annotated[Runtime, Depends(get_runtime)]


@router.post("/sign-in", summary="Sign in with e-mail address and password; sets the session cookie")
async def sign_in(body: SignInInput, request: Request, response: Response, runtime: CurrentRuntime) -> SignedInOutput:
    if "origin" in request.headers:  # a foreign page must not sign its visitor in under another name
        check_origin(request)
    manager = UserManager(runtime, ip=client_ip(request))
    user = await manager.authenticate(OAuth2PasswordRequestForm(username=body.email, password=body.password))
    former = request.cookies.get(SESSION_COOKIE)
    if former:
        await end_session_of(runtime, former, ip=client_ip(request))
    login = await session_backend(runtime.settings).login(session_strategy(request), user)
    response.headers["set-cookie"] = login.headers["set-cookie"]
    response.headers["cache-control"] = "no-store"
    assert user.signed_in is not None
    return SignedInOutput(
        user_id=user.id,
        csrf_token=user.signed_in.csrf_token,
        expires_at=user.signed_in.expires_at,
        must_change_password=user.must_change_password,
    )


@router.post("/sign-out", status_code=status.HTTP_204_NO_CONTENT, summary="End this session and clear its cookie")
async def sign_out(request: Request, runtime: CurrentRuntime, user: CurrentUser) -> Response:
    token = request.cookies.get(SESSION_COOKIE, "")
    return await session_backend(runtime.settings).logout(session_strategy(request), user, token)


@router.get("/me", summary="Who am I, with the grants in force")
async def me(runtime: CurrentRuntime, user: CurrentUser, actor: CurrentActor, response: Response) -> MeOutput:
    account = await UserManager(runtime, ip=actor.ip).get(user.id)
    session = user.session
    response.headers["cache-control"] = "no-store"
    return MeOutput(
        id=user.id,
        name=actor.name,
        email=actor.email,
        kind=actor.kind.value,
        time_zone=actor.time_zone,
        read_only=actor.read_only,
        must_change_password=account.must_change_password,
        last_sign_in_at=account.last_sign_in_at,
        grants=[
            GrantOutput(
                role=grant.role,
                application=grant.application,
                node_id=grant.node_id,
                node_path=grant.node_path,
                valid_until=grant.valid_until,
            )
            for grant in actor.grants
        ],
        session=session
        and OwnSessionOutput(id=session.id, csrf_token=session.csrf_token, expires_at=session.expires_at),
    )


@router.post("/password", status_code=status.HTTP_204_NO_CONTENT, summary="Change one's own password")
async def change_password(body: PasswordInput, runtime: CurrentRuntime, actor: CurrentActor) -> None:
    await change_own_password(runtime, actor, current=body.current_password, new=body.new_password)


@router.get("/sessions", summary="One's own sessions")
async def list_sessions(runtime: CurrentRuntime, actor: CurrentActor) -> list[SessionOutput]:
    async with runtime.uow(actor) as uow:
        return [SessionOutput.model_validate(line) for line in await sessions.list_sessions(uow)]


@router.delete("/sessions", summary="End all of one's own sessions but this one")
async def end_other_sessions(runtime: CurrentRuntime, actor: CurrentActor) -> EndedOutput:
    async with runtime.uow(actor) as uow:
        return EndedOutput(ended=await sessions.sign_out_everywhere(uow, keep_current=True))


@router.delete("/sessions/{session_id}", status_code=status.HTTP_204_NO_CONTENT, summary="End a session")
async def end_session(session_id: UUID, runtime: CurrentRuntime, actor: CurrentActor) -> None:
    async with runtime.uow(actor) as uow:
        await sessions.revoke_session(uow, session_id=session_id)


@router.get("/tokens", summary="One's own access tokens")
async def list_tokens(runtime: CurrentRuntime, actor: CurrentActor) -> list[TokenOutput]:
    async with runtime.uow(actor) as uow:
        return [TokenOutput.model_validate(line) for line in await tokens.list_tokens(uow)]


@router.post("/tokens", status_code=status.HTTP_201_CREATED, summary="Make an access token; it is shown once")
async def create_token(
    body: TokenInput, runtime: CurrentRuntime, user: CurrentUser, actor: CurrentActor, response: Response
) -> NewTokenOutput:
    async with runtime.uow(actor) as uow:
        made = await tokens.create_token(
            uow,
            user_id=body.user_id or user.id,
            label=body.label,
            read_only=body.read_only,
            expires_at=body.expires_at,
        )
    response.headers["cache-control"] = "no-store"
    return NewTokenOutput(token=made.token, **TokenOutput.model_validate(made.line).model_dump())


@router.delete("/tokens/{token_id}", status_code=status.HTTP_204_NO_CONTENT, summary="Revoke an access token")
async def revoke_token(token_id: UUID, runtime: CurrentRuntime, actor: CurrentActor) -> None:
    async with runtime.uow(actor) as uow:
        await tokens.revoke_token(uow, token_id=token_id)
