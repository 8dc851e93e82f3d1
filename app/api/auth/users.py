"""fastapi-users on our accounts: the user as it sees one, a database adapter inside units of work, and the manager.

The library's own SQLAlchemy adapter commits by itself, and its manager hashes on the event loop. Ours reads only:
accounts are written by `app.domain.access.accounts`, which authorizes and records each change.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from fastapi import Request
from fastapi.security import OAuth2PasswordRequestForm
from fastapi_users import BaseUserManager, InvalidPasswordException, UUIDIDMixin
from fastapi_users.db import BaseUserDatabase
from fastapi_users.schemas import BaseUserCreate
from sqlalchemy import ColumnElement

from app.core.actor import Actor, system_actor
from app.core.errors import NotFound
from app.domain.access.accounts import Account, read_account
from app.domain.access.actors import Platform
from app.domain.access.passwords import HASHER, password_problems, random_password
from app.domain.access.sessions import LoadedSession
from app.domain.access.sign_in import SignedIn, Verified, verify_sign_in


@dataclass
class ApiUser:
    """What fastapi-users calls a user. The hash stays in the domain; roles are grants, so nobody is a superuser."""

    id: UUID
    email: str
    name: str
    is_active: bool = True
    is_verified: bool = True
    is_superuser: bool = False
    hashed_password: str = ""
    must_change_password: bool = False
    last_sign_in_at: datetime | None = None
    actor: Actor | None = None
    session: LoadedSession | None = None
    signed_in: SignedIn | None = None


class UserDatabase(BaseUserDatabase[ApiUser, UUID]):
    """Reads accounts, each time in a unit of work of its own."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    async def get(self, id: UUID) -> ApiUser | None:
        return await self._one("id", id)

    async def get_by_email(self, email: str) -> ApiUser | None:
        return await self._one("email", email.strip().lower())

    async def _one(self, column: str, value: object) -> ApiUser | None:
        async with self.platform.uow(system_actor("Sign-in")) as uow:
            condition: ColumnElement[bool] = uow.table("user").c[column] == value
            try:
                return _from_account(await read_account(uow, condition))
            except NotFound:
                return None


class PasswordHelper:
    """The library's port for passwords, on our hasher."""

    def verify_and_update(self, plain_password: str, hashed_password: str) -> tuple[bool, str | None]:
        return HASHER.verify_and_update(plain_password, hashed_password)

    def hash(self, password: str) -> str:
        return HASHER.hash(password)

    def generate(self) -> str:
        return random_password()


class UserManager(UUIDIDMixin, BaseUserManager[ApiUser, UUID]):
    """Signs people in with the lock-out, the throttle and the audit trail of the domain."""

    def __init__(self, platform: Platform, *, ip: str | None) -> None:
        super().__init__(UserDatabase(platform), PasswordHelper())
        self.platform = platform
        self.ip = ip
        # No link that the library would sign is ever sent: passwords are reset by administrators.
        secret = platform.settings.secret_key
        self.reset_password_token_secret = self.verification_token_secret = secret.get_secret_value() if secret else ""

    async def authenticate(self, credentials: OAuth2PasswordRequestForm) -> ApiUser:
        """Raises SignInRefused, SignInPaused, RateLimited."""
        verified = await verify_sign_in(
            self.platform, email=credentials.username, password=credentials.password, ip=self.ip
        )
        return _from_verified(verified)

    async def validate_password(self, password: str, user: BaseUserCreate | ApiUser) -> None:
        problems = password_problems(password, email=user.email)
        if problems:
            raise InvalidPasswordException(problems[0].message)


def client_ip(request: Request) -> str | None:
    """The address the request came from; behind a trusted proxy the server has put the real one there."""
    return request.client.host if request.client else None


def _from_account(account: Account) -> ApiUser:
    return ApiUser(
        id=account.id,
        email=account.email,
        name=account.name,
        is_active=account.active,
        must_change_password=account.must_change_password,
        last_sign_in_at=account.last_sign_in_at,
    )


def _from_verified(verified: Verified) -> ApiUser:
    return ApiUser(
        id=verified.user_id,
        email=verified.email,
        name=verified.name,
        must_change_password=verified.must_change_password,
    )
