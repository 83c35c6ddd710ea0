"""Addresses: a password may be anything, and is never shown."""

from __future__ import annotations

import itertools

import pytest

from otjobs.backend.store import connect
from otjobs.backend.store.address import public, read
from otjobs.errors import ConfigurationError, StoreUnreachableError

WORDS = (
    "hunter2",
    "hun/ter2",
    "hun#ter2",
    "hun?ter2",
    "hun@ter2",
    "hun%ter2",
    "hun:ter2",
    "hun%2Fter2",
    "hun\\ter2",
    "a/b@c#hunter2",
)
PLACES = (
    "127.0.0.1:9/otjobs",
    "[::1]:9/otjobs",
    "127.0.0.1:abc/x",
    "127.0.0.1:9/a-b",
    "",
    ":",
    "/",
    "127.0.0.1:99999999/x",
    "h[ost:9/x",
)
SCHEMES = ("http://", "https://", "ftp://", "HTTP://", "", "//", "chdb://")


@pytest.mark.parametrize("word", WORDS)
def test_a_password_is_never_shown_whatever_is_wrong_with_the_address(word):
    tail = word[-3:]
    for scheme, place in itertools.product(SCHEMES, PLACES):
        url = f"{scheme}me:{word}@{place}"
        assert tail not in public(url), url
        with pytest.raises((ConfigurationError, StoreUnreachableError)) as told:
            connect(url)
        assert tail not in str(told.value), (url, str(told.value))
    if "@" not in word:  # what follows one is a host
        assert tail not in public(f"http://me:{word}")
    plain = word.replace("#", "").replace("?", "")
    assert tail not in public(f"http://127.0.0.1:9/otjobs?password={plain}")


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8123/otjobs", "https://me@host/x", "http://[::1]:9/x", "chdb:///a/b", "host:4318", "nonsense"],
)
def test_an_address_without_a_password_is_shown_as_it_is(url):
    assert public(url) == url


@pytest.mark.parametrize(
    ("word", "meant"), [*((word, word) for word in WORDS if "%2F" not in word), ("hun%2Fter2", "hun/ter2")]
)
def test_a_password_may_be_written_as_it_is_or_encoded(word, meant):
    found = read(f"http://me:{word}@host:8123/otjobs")
    assert (found.user, found.password, found.host, found.port, found.path) == ("me", meant, "host", 8123, "/otjobs")
    assert read(found.at("other", "db")).password == meant
    assert found.at("other", "db") == f"http://me:{word}@other:8123/db"
    assert found.at("other:1", "db").endswith("@other:1/db")


@pytest.mark.clickhouse
@pytest.mark.parametrize("word", WORDS)
def test_such_a_password_opens_a_real_server(clickhouse, word):
    store = connect(f"http://default:@127.0.0.1:{clickhouse.http_port}/otjobs")
    store.close()
    with pytest.raises(Exception, match="refused") as told:
        connect(f"http://default:{word}@127.0.0.1:{clickhouse.http_port}/otjobs")
    assert word[-3:] not in str(told.value)
