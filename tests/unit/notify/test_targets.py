"""Where calls may go: public addresses, and what the settings allow, whatever a name resolves to."""

import ipaddress

import pytest

from app.domain.notify.endpoints import check_chat
from app.domain.notify.web_targets import Allowed, CallFailed, TargetRefused, choose, is_public, read_address


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.9", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fc00::1", "fec0::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)  # fmt: skip
def test_addresses_inside_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    with pytest.raises(TargetRefused, match="not a public address"):
        choose("hooks.example", [address], Allowed())


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_one_address_inside_spoils_a_name() -> None:
    with pytest.raises(TargetRefused, match=r"10\.0\.0\.1"):
        choose("hooks.example", ["8.8.8.8", "10.0.0.1"], Allowed())


def test_the_settings_allow_networks_and_names() -> None:
    allowed = Allowed.read("10.20.0.0/16, Hooks.bank.example, fd00::/8")
    assert choose("x.example", ["10.20.3.4"], allowed) == "10.20.3.4"
    assert choose("hooks.bank.example", ["10.9.9.9"], allowed) == "10.9.9.9"
    assert choose("x.example", ["fd00::7"], allowed) == "fd00::7"
    with pytest.raises(TargetRefused):
        choose("x.example", ["10.21.3.4"], allowed)
    with pytest.raises(ValueError, match="no network"):
        Allowed.read("10.20.0.1/16/3")


@pytest.mark.parametrize(
    "text", ["ftp://x.example", "file:/etc/passwd", "https://", "http://u:p@x.example", "https://x.example:0/", "x",
             "https://x.exa mple/", "https://x.example:99999/"],
)  # fmt: skip
def test_what_can_never_be_called_is_refused_when_it_is_entered(text: str) -> None:
    with pytest.raises(TargetRefused):
        read_address(text)


@pytest.mark.parametrize(
    "address",
    [
        "json://10.0.0.1/", "mailto://x", "file:/etc/passwd", "slack", "syslog://", "workflows://10.0.0.1/a/b",
        "slack://a/b/c?verify=no",
    ],
)  # fmt: skip
def test_chat_services_that_could_lead_inside_are_refused(address: str) -> None:
    with pytest.raises(CallFailed) as refused:
        check_chat(address)
    assert refused.value.permanent


def test_chat_services_with_hosts_of_their_own_are_taken() -> None:
    check_chat("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#close")
    check_chat("workflows://prod-01.westeurope.logic.azure.com:443/id/signature/")
