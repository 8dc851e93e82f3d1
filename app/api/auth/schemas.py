"""What the auth routes take and give. No hash and no stored token is in any of them."""

from datetime import datetime
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SignInInput(_Input):
    email: str = Field(min_length=1, max_length=1_000, examples=["preparer@bank.example"])
    password: str = Field(min_length=1, max_length=1_000)


class PasswordInput(_Input):
    current_password: str = Field(min_length=1, max_length=1_000)
    new_password: str = Field(max_length=1_000, description="At least 12 characters")


class TokenInput(_Input):
    label: str = Field(max_length=1_000, description="What the token is for", examples=["Nightly export"])
    read_only: bool = True
    user_id: UUID | None = Field(None, description="A service account that you administer; yourself where left out")
    expires_at: AwareDatetime | None = Field(None, description="At most a year ahead; 90 days where it is left out")


class SignedInOutput(BaseModel):
    user_id: UUID
    csrf_token: str = Field(description="Send it as X-CSRF-Token with every changing request of this session")
    expires_at: datetime
    must_change_password: bool


class GrantOutput(BaseModel):
    role: str
    application: str
    node_id: UUID | None = Field(description="Only below this hierarchy node; empty for the whole application")
    node_path: str | None
    valid_until: datetime | None


class OwnSessionOutput(BaseModel):
    id: UUID
    csrf_token: str
    expires_at: datetime


class MeOutput(BaseModel):
    id: UUID
    name: str
    email: str
    kind: str
    time_zone: str
    read_only: bool = Field(description="Whether the access token may only read")
    must_change_password: bool
    last_sign_in_at: datetime | None
    grants: list[GrantOutput]
    session: OwnSessionOutput | None = Field(description="Empty where an access token was sent")


class SessionOutput(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    ip: str | None
    user_agent: str | None
    current: bool = Field(description="Whether this request belongs to it")


class EndedOutput(BaseModel):
    ended: int = Field(description="How many sessions were ended")


class TokenOutput(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    label: str
    prefix: str
    read_only: bool
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewTokenOutput(TokenOutput):
    token: str = Field(description="Shown now and never again")
