"""Calls to addresses that administrators enter: only to where they may go, whatever a name resolves to. The guard.

The name is resolved once, every address it has must be public (or inside a network that the settings allow), and the
connection is made to exactly that address, so that a name cannot resolve to something else a moment later. Redirects
are not followed. Without this, a webhook could reach the metadata service of a cloud or a database of the bank.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import httpx

TIMEOUT_SECONDS = 15.0
SCHEMES = {"https": 443, "http": 80}
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TargetRefused(Exception):
    """The address may not be called; the text says why."""


class CallFailed(Exception):
    """The call was not taken. `permanent`: it never will be."""

    def __init__(self, detail: str, *, permanent: bool) -> None:
        super().__init__(detail)
        self.permanent = permanent


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be called beside public addresses: networks, and names with whatever they resolve to."""

    networks: tuple[Network, ...] = ()
    names: frozenset[str] = frozenset()

    @classmethod
    def read(cls, text: str) -> "Allowed":
        """Read `10.20.0.0/16, hooks.bank.example`. Raises ValueError."""
        networks: list[Network] = []
        names: set[str] = set()
        for part in (part.strip() for part in text.split(",")):
            if not part:
                continue
            try:
                networks.append(ipaddress.ip_network(part))
            except ValueError:
                if "/" in part or part.replace(".", "").isdigit() or ":" in part:
                    raise ValueError(f"{part!r} is no network; write 10.20.0.0/16 or the name of a host") from None
                names.add(part.lower().rstrip("."))
        return cls(tuple(networks), frozenset(names))

    def permits(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call goes: `address` is what is connected to, `host` whose certificate has to be there."""

    scheme: str
    host: str
    port: int
    address: str
    path: str

    @property
    def url(self) -> str:
        place = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{place}:{self.port}{self.path}"

    @property
    def host_header(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return shown if self.port == SCHEMES[self.scheme] else f"{shown}:{self.port}"


def read_address(text: str) -> SplitResult:
    """Read an address as it is entered. Raises TargetRefused for what can never be called."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise TargetRefused("this is no address; write https://hooks.bank.example/steps") from None
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise TargetRefused("an address begins with https:// and names a host")
    if parts.username or parts.password:
        raise TargetRefused("an address has no user or password in it; calls are signed")
    if port == 0 or any(ord(char) <= 32 for char in text.strip()):
        raise TargetRefused("this is no address; write https://hooks.bank.example/steps")
    return parts


def is_public(address: Address) -> bool:
    """Whether an address is on the internet, also behind the ways in which IPv6 wraps an IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in ipaddress.IPv6Network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is None and address.teredo is not None:
            return False
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def choose(host: str, addresses: Sequence[str], allowed: Allowed) -> str:
    """The address to connect to. One that may not be called spoils them all: the name is not to be trusted.

    Raises:
        TargetRefused: with the address that may not be called.
    """
    if not addresses:
        raise TargetRefused(f"{host} has no address")
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        if is_public(address) or allowed.permits(address) or host.lower().rstrip(".") in allowed.names:
            continue
        raise TargetRefused(
            f"{host} is at {address}, which is not a public address. An administrator of the server may allow it in "
            "STEPS_NOTIFY_ALLOWED_NETWORKS."
        )
    return addresses[0]


async def resolve(text: str, allowed: Allowed) -> Target:
    """Where an address leads now. Raises TargetRefused, CallFailed for a name that cannot be looked up."""
    parts = read_address(text)
    host = parts.hostname or ""
    port = parts.port or SCHEMES[parts.scheme]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise CallFailed(f"{host} cannot be looked up: {error}", permanent=False) from None
    address = choose(host, list(dict.fromkeys(str(entry[4][0]) for entry in found)), allowed)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, address, path)


async def post(target: Target, *, body: bytes, headers: dict[str, str]) -> int:
    """Send a call and return the status of an answer that takes it (2xx).

    Raises:
        CallFailed: any other answer, or none. What the receiver cannot mean to be tried again is permanent.
    """
    extensions = {"sni_hostname": target.host} if target.scheme == "https" else {}
    try:
        async with (
            httpx.AsyncClient(follow_redirects=False, timeout=TIMEOUT_SECONDS, trust_env=False) as client,
            client.stream(
                "POST",
                target.url,
                content=body,
                headers={**headers, "host": target.host_header, "content-type": "application/json"},
                extensions=extensions,
            ) as answer,
        ):
            status = answer.status_code
    except (httpx.HTTPError, OSError) as error:
        raise CallFailed(f"{target.host}: {str(error) or type(error).__name__}", permanent=False) from None
    if 200 <= status < 300:
        return status
    if 300 <= status < 400:
        raise CallFailed(f"{target.host} answered {status}: redirects are not followed.", permanent=True)
    permanent = 400 <= status < 500 and status not in (408, 409, 425, 429)
    raise CallFailed(f"{target.host} answered {status}.", permanent=permanent)
