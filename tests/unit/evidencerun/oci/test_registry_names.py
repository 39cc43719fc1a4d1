# SPDX-License-Identifier: Apache-2.0
"""Names of repositories, and credentials for them."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun.errors import InputError
from evidencerun.oci.credentials import Credentials, credentials_for
from evidencerun.oci.reference import Repository, parse_repository

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    "text",
    [
        "registry.example.com/team/evidence",
        "registry.example.com:5000/e",
        "localhost/e",
        "10.200.0.1:5000/a__b/c-d.e",
        "[::1]:5000/e",
    ],
)
def test_repositories(text: str) -> None:
    found = parse_repository(text)
    assert str(found) == text
    assert found.registry == text.partition("/")[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "evidence",
        "team/evidence",
        "registry.example.com",
        "registry.example.com/",
        "registry.example.com/Team",
        "registry.example.com/a/../b",
        "registry.example.com/a:tag",
        "registry.example.com/a@" + DIGEST,
        "https://registry.example.com/a",
        "user@registry.example.com/a",
        "registry.example.com/" + "a" * 256,
        "registry .example.com/a",
    ],
)
def test_what_is_no_repository(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_repository(text)
    assert caught.value.code == "E7401"
    assert caught.value.fix


@given(st.text(max_size=200) | st.from_regex(r"[a-z.:]{1,9}/[a-zA-Z/._-]{1,9}", fullmatch=True))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        found = parse_repository(text)
    except InputError:
        return
    assert str(found) == text


REPOSITORY = Repository(registry="registry.example.com:5000", path="team/evidence")


def config(entries: object) -> bytes:
    return json.dumps({"auths": entries}).encode()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "key",
    [
        "registry.example.com:5000",
        "https://registry.example.com:5000",
        "https://registry.example.com:5000/v1/",
        "registry.example.com:5000/team",
        "registry.example.com:5000/team/evidence",
    ],
)
def test_credentials_are_found_under_any_spelling(key: str) -> None:
    found = credentials_for(config({"other.example.com": {}, key: {"auth": encoded("user:pa:ss")}}), REPOSITORY)
    assert found == Credentials(username="user", password="pa:ss")


def test_the_longest_match_wins() -> None:
    entries = {
        "registry.example.com:5000": {"username": "wide", "password": "1"},
        "registry.example.com:5000/team": {"username": "narrow", "password": "2"},
    }
    found = credentials_for(config(entries), REPOSITORY)
    assert found is not None
    assert found.username == "narrow"


@pytest.mark.parametrize("key", ["registry.example.com", "registry.example.com:5000/te", "example.com:5000", ""])
def test_other_registries_do_not_match(key: str) -> None:
    assert credentials_for(config({key: {"auth": encoded("u:p")}}), REPOSITORY) is None


def test_identity_tokens() -> None:
    found = credentials_for(config({"registry.example.com:5000": {"identitytoken": "t", "auth": "x"}}), REPOSITORY)
    assert found == Credentials(identity_token="t")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"auths": []}',
        config({"registry.example.com:5000": {"auth": "no base64"}}),
        config({"registry.example.com:5000": {"auth": "é"}}),
        config({"registry.example.com:5000": {"auth": "/w=="}}),
        config({"registry.example.com:5000": {"auth": encoded(":p")}}),
        config({"registry.example.com:5000": {}}),
        b'{"auths": {"a": {"password": "top-secret\\ud800"}}}',
    ],
)
def test_configurations_that_cannot_be_read(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        credentials_for(data, REPOSITORY)
    assert caught.value.code == "E7402"
    assert "top-secret" not in caught.value.diagnostics()


def test_credentials_are_never_shown() -> None:
    shown = repr(Credentials(username="user", password="hunter2", identity_token="tok"))
    assert not [secret for secret in ("user=", "hunter2", "tok'") if secret in shown]
