"""What a trusted proxy may say about the client, and what is ignored."""

from __future__ import annotations

from typing import Any

import pytest
from baize.typing import Receive, Scope, Send
from hypothesis import given
from hypothesis import strategies as st

from kui.serving.proxies import ForwardedHeaders

PROXY = "10.0.0.1"


def seen(
    *headers: tuple[str, str],
    trusted: str = "10.0.0.0/8",
    peer: tuple[str, int] | None = (PROXY, 5000),
    kind: str = "http",
) -> dict[str, Any]:
    """What the app gets to see of a request with these headers."""
    found: dict[str, Any] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.update(scope)

    scope = {
        "type": kind,
        "scheme": "http" if kind == "http" else "ws",
        "client": peer,
        "headers": [
            (b"host", b"inside:8000"),
            *((name.encode(), value.encode("latin-1")) for name, value in headers),
        ],
    }
    before = dict(scope)
    running = ForwardedHeaders(app, trusted)(scope, None, None)  # type: ignore[arg-type] # unused
    with pytest.raises(StopIteration):
        running.send(None)
    assert scope == before, "the scope belongs to the server"
    return found


def host(scope: dict[str, Any]) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == b"host"]


def test_a_trusted_proxy_sets_client_scheme_and_host() -> None:
    scope = seen(
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "example.com"),
    )
    assert scope["client"] == ("192.0.2.7", 0)
    assert scope["scheme"] == "https"
    assert host(scope) == [b"example.com"]


def test_so_it_does_in_the_words_of_rfc_7239() -> None:
    scope = seen(("forwarded", 'for="[2001:db8::7]:4711"; Proto=HTTPS;host="example.com:8443"'))
    assert scope["client"] == ("2001:db8::7", 4711)
    assert scope["scheme"] == "https"
    assert host(scope) == [b"example.com:8443"]


@pytest.mark.parametrize("peer", [("192.0.2.1", 5000), ("2001:db8::1", 5000), None])
def test_any_other_peer_sets_nothing(peer: tuple[str, int] | None) -> None:
    scope = seen(("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), peer=peer)
    assert (scope["client"], scope["scheme"]) == (peer, "http")


def test_an_empty_list_trusts_no_proxy() -> None:
    assert seen(("x-forwarded-for", "1.2.3.4"), trusted="")["client"] == (PROXY, 5000)


def test_a_unix_socket_is_trusted_by_its_name() -> None:
    scope = seen(("x-forwarded-for", "1.2.3.4"), trusted="unix", peer=None)
    assert scope["client"] == ("1.2.3.4", 0)


def test_an_ipv4_peer_on_an_ipv6_socket_is_known_by_its_ipv4_address() -> None:
    scope = seen(("x-forwarded-for", "1.2.3.4"), peer=("::ffff:10.0.0.1", 5000))
    assert scope["client"] == ("1.2.3.4", 0)


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        ("1.1.1.1, 192.0.2.7", "192.0.2.7"),
        ("1.1.1.1, 192.0.2.7, 10.0.0.2, 10.0.0.3", "192.0.2.7"),
        ("10.0.0.9, 10.0.0.2", "10.0.0.9"),
        ("garbage, 192.0.2.7", "192.0.2.7"),
        ("garbage, 10.0.0.2", "10.0.0.2"),
        ("1.1.1.1, , 10.0.0.2", "10.0.0.2"),
        ("1.1.1.1, garbage", PROXY),
        ("", PROXY),
        ("unknown", PROXY),
        ("192.0.2.7:1234", "192.0.2.7"),
        ("192.0.2.7:123456", PROXY),
        ("192.0.2.007", PROXY),
        ("192.0.2.7/24", PROXY),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("[192.0.2.7]", PROXY),
        ("::ffff:10.0.0.2", "10.0.0.2"),
        ("fe80::1%eth0", PROXY),
        ("192.0.2.7\x00", PROXY),
        ("\u0661.1.1.1", PROXY),
    ],
)
def test_the_client_is_the_rightmost_hop_that_is_not_trusted(hops: str, client: str) -> None:
    encoded = hops.encode().decode("latin-1")
    assert seen(("x-forwarded-for", encoded))["client"][0] == client


def test_several_fields_are_one_list() -> None:
    scope = seen(("x-forwarded-for", "192.0.2.7"), ("x-forwarded-for", "10.0.0.2"))
    assert scope["client"] == ("192.0.2.7", 0)


def test_trusting_every_proxy_means_the_leftmost() -> None:
    scope = seen(("x-forwarded-for", "1.1.1.1, 192.0.2.7"), trusted="*", peer=("192.0.2.1", 1))
    assert scope["client"] == ("1.1.1.1", 0)


@pytest.mark.parametrize(
    ("hops", "protos", "scheme"),
    [
        ("192.0.2.7", "https", "https"),
        ("192.0.2.7, 10.0.0.2", "https, http", "https"),
        ("1.1.1.1, 192.0.2.7", "https, http", "http"),
        ("192.0.2.7", "https, http", "http"),
        ("192.0.2.7, 10.0.0.2", "https", "https"),
        ("192.0.2.7", "HTTPS", "https"),
        ("192.0.2.7", "ftp", "http"),
        ("192.0.2.7", "https;", "http"),
    ],
)
def test_the_scheme_is_that_of_the_clients_hop(hops: str, protos: str, scheme: str) -> None:
    scope = seen(("x-forwarded-for", hops), ("x-forwarded-proto", protos))
    assert scope["scheme"] == scheme


def test_a_proxy_may_set_the_scheme_alone() -> None:
    scope = seen(("x-forwarded-proto", "https"))
    assert (scope["scheme"], scope["client"]) == ("https", (PROXY, 5000))


@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_a_websocket_becomes_a_secure_one(scheme: str) -> None:
    assert seen(("x-forwarded-proto", scheme), kind="websocket")["scheme"] == "wss"
    assert seen(("x-forwarded-proto", scheme))["scheme"] == "https"


@pytest.mark.parametrize("name", ["exam ple.com", "a/b", "user@example.com", "ex\xe4mple.com", ""])
def test_a_broken_host_is_ignored(name: str) -> None:
    assert host(seen(("x-forwarded-host", name))) == [b"inside:8000"]


def test_forwarded_elements_are_read_from_the_right_too() -> None:
    scope = seen(
        ("forwarded", "for=1.1.1.1;host=evil.test;proto=http, for=192.0.2.7;host=example.com"),
        ("forwarded", 'for="10.0.0.2";host=inner.test;proto=http'),
    )
    assert scope["client"] == ("192.0.2.7", 0)
    assert host(scope) == [b"example.com"]
    assert scope["scheme"] == "http"


@pytest.mark.parametrize(
    "value",
    [
        "for=_hidden",
        "for=unknown",
        "for=192.0.2.7;for=192.0.2.8",
        "for=192.0.2.7;",
        "for=192.0.2.7,",
        "for = 192.0.2.7",
        'for="192.0.2.7',
        "for=192.0.2.7 proto=https",
        "for=[2001:db8::1]",
        "for",
        "",
        ";",
        "proto=https;host=e x",
    ],
)
def test_a_broken_forwarded_header_is_ignored(value: str) -> None:
    scope = seen(("forwarded", value))
    assert (scope["client"], scope["scheme"]) == ((PROXY, 5000), "http")
    assert host(scope) == [b"inside:8000"]


def test_a_quoted_pair_is_unquoted() -> None:
    assert seen(("forwarded", r'for="192.0.2.\7"'))["client"] == ("192.0.2.7", 0)


def test_two_families_that_agree_are_used() -> None:
    scope = seen(
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=192.0.2.7"),
    )
    assert scope["client"] == ("192.0.2.7", 0)


def test_two_families_that_differ_leave_no_client_to_trust() -> None:
    scope = seen(
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=10.0.0.7;host=evil.test"),
    )
    assert scope["client"] is None
    assert scope["scheme"] == "http"
    assert host(scope) == [b"inside:8000"]


@given(st.text(alphabet='for=proto;host,"\\[]:. 127', max_size=60))
def test_no_header_makes_it_fail(value: str) -> None:
    seen(("forwarded", value))
    seen(("x-forwarded-for", value), ("x-forwarded-proto", value), ("x-forwarded-host", value))


@pytest.mark.parametrize("trusted", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0-10.0.0.9"])
def test_what_is_no_address_cannot_be_trusted(trusted: str) -> None:
    with pytest.raises(ValueError, match="neither an address nor a network"):
        seen(trusted=trusted)
