# SPDX-License-Identifier: Apache-2.0
"""The registry client against scripted answers: logins, redirects, faults, lies. Real registries: tests/integration."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from scripted_registry import BLOB, DATA, HOST, Script, challenge, replies

from evidencerun import limits
from evidencerun.errors import RegistryError
from evidencerun.oci import media_types
from evidencerun.oci.authorizer import parse_challenge
from evidencerun.oci.credentials import Credentials
from evidencerun.oci.faults import RegistryRefusedError
from evidencerun.oci.reference import Repository
from evidencerun.oci.registry import Descriptor, RepositoryClient
from evidencerun.oci.transport import RegistryAccess

BEARER = f'Bearer realm="https://auth.example.com/token",service="{HOST}",scope="repository:team/evidence:pull"'


# --- logins ----------------------------------------------------------------------------------------------------------


def test_basic_login_is_given_when_asked_for_and_kept() -> None:
    script = replies(challenge('Basic realm="r"'), httpx.Response(200), httpx.Response(200))
    client = script.client()
    assert client.has_blob(BLOB.digest)
    assert client.has_blob(BLOB.digest)
    sent = [request.headers.get("Authorization", "") for request in script.seen]
    assert sent == ["", "Basic dXNlcjpzZWNyZXQ=", "Basic dXNlcjpzZWNyZXQ="]


def test_basic_login_that_is_refused_is_not_repeated() -> None:
    script = replies(*[challenge('Basic realm="r"')] * 9)
    client = script.client()
    for _ in range(2):
        with pytest.raises(RegistryRefusedError) as caught:
            client.has_blob(BLOB.digest)
        assert (caught.value.code, caught.value.status) == ("E7411", 401)
    assert [request.headers.get("Authorization", "") for request in script.seen].count("") == 1
    assert len(script.seen) == 3


def test_bearer_token_is_fetched_once_per_scope() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.example.com":
            return httpx.Response(200, json={"token": f"t-{request.url.params['scope']}"})
        if "Authorization" not in request.headers:
            return challenge(BEARER.replace(",scope=", ",x="))
        return httpx.Response(200, content=DATA)

    script = Script(handler)
    client = script.client()
    client.has_blob(BLOB.digest)
    client.has_blob(BLOB.digest)
    client.read_blob(BLOB, io.BytesIO())
    asked = [request for request in script.seen if request.url.host == "auth.example.com"]
    assert [request.url.params["scope"] for request in asked] == [
        "repository:team/evidence:pull,push",
        "repository:team/evidence:pull",
    ]
    assert asked[0].url.params["service"] == HOST
    assert asked[0].headers["Authorization"] == "Basic dXNlcjpzZWNyZXQ="
    assert script.seen[-1].headers["Authorization"] == "Bearer t-repository:team/evidence:pull"


def test_the_challenges_own_scope_is_honoured() -> None:
    script = replies(
        challenge('Bearer realm="https://auth.example.com/t",scope="aws"'),
        httpx.Response(200, json={"access_token": "tok"}),
        httpx.Response(200),
    )
    script.client(Credentials()).has_blob(BLOB.digest)
    assert script.seen[1].url.params["scope"] == "aws"
    assert "Authorization" not in script.seen[1].headers


def test_identity_tokens_are_exchanged() -> None:
    script = replies(challenge(BEARER), httpx.Response(200, json={"access_token": "tok"}), httpx.Response(200))
    script.client(Credentials(identity_token="refresh-me")).has_blob(BLOB.digest)
    assert script.seen[1].method == "POST"
    assert b"grant_type=refresh_token" in script.seen[1].content
    assert b"refresh_token=refresh-me" in script.seen[1].content


def test_an_expired_token_is_renewed() -> None:
    token = {"token": "tok"}
    script = replies(
        challenge(BEARER),
        httpx.Response(200, json=token),
        httpx.Response(200),
        challenge(BEARER),
        httpx.Response(200, json=token),
        httpx.Response(200),
    )
    client = script.client()
    assert client.has_blob(BLOB.digest)
    assert client.has_blob(BLOB.digest)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx.Response(401), "E7411"),
        (httpx.Response(403), "E7412"),
        (httpx.Response(200, content=b"no json"), "E7421"),
        (httpx.Response(200, json={}), "E7421"),
        (httpx.Response(200, json={"token": "a\r\nX: y"}), "E7421"),
        (httpx.Response(200, json={"token": 5}), "E7421"),
        (httpx.ConnectError("refused"), "E7418"),
    ],
)
def test_faults_of_the_token_service_are_named(answer: httpx.Response | Exception, code: str) -> None:
    script = replies(challenge(BEARER), *[answer] * 1, *[challenge(BEARER), answer] * 4)
    with pytest.raises(RegistryError) as caught:
        script.client().has_blob(BLOB.digest)
    assert caught.value.code == code


@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_token_service_without_end_is_not_read_to_its_end(status: int) -> None:
    given: list[int] = []

    def without_end() -> Iterator[bytes]:
        while len(given) < 1000:
            given.append(1)
            yield b" " * 16_384

    script = replies(challenge(BEARER), httpx.Response(status, content=without_end()), *[challenge("")] * 20)
    with pytest.raises(RegistryError):
        script.client().has_blob(BLOB.digest)
    assert len(given) < 20


@pytest.mark.parametrize("body", [b"[" * 16_000, b'{"errors":[{"message":"\\u001b[2J"}]}'])
def test_words_of_a_registry_do_no_harm(body: bytes) -> None:
    with pytest.raises(RegistryError) as caught:
        replies(httpx.Response(400, content=body)).client().has_blob(BLOB.digest)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("realm", ["http://auth.example.com/token", "", "/token\x00", "file:///etc/passwd"])
def test_credentials_never_go_to_a_token_service_without_tls(realm: str) -> None:
    script = replies(challenge(f'Bearer realm="{realm}"'))
    with pytest.raises(RegistryError):
        script.client().has_blob(BLOB.digest)
    assert len(script.seen) == 1


@pytest.mark.parametrize("header", ["", "Negotiate", "Digest realm=x"])
def test_an_unknown_login_is_a_refusal(header: str) -> None:
    with pytest.raises(RegistryRefusedError) as caught:
        replies(challenge(header)).client().has_blob(BLOB.digest)
    assert caught.value.status == 401


def test_challenges_are_read() -> None:
    found = parse_challenge('Bearer realm="https://a/t?x=1,2", service=plain ,scope="a:b:pull,push"')
    assert found.scheme == "bearer"
    assert found.parameters == {"realm": "https://a/t?x=1,2", "service": "plain", "scope": "a:b:pull,push"}


# --- redirects -------------------------------------------------------------------------------------------------------


def test_a_redirect_to_an_object_store_carries_no_login() -> None:
    script = replies(
        challenge('Basic realm="r"'),
        httpx.Response(307, headers={"Location": "https://blobs.example.net/x?sig=1"}),
        httpx.Response(200, content=DATA),
    )
    target = io.BytesIO()
    script.client().read_blob(BLOB, target)
    assert target.getvalue() == DATA
    assert script.seen[2].url.host == "blobs.example.net"
    assert "Authorization" not in script.seen[2].headers


@pytest.mark.parametrize("location", ["http://blobs.example.net/x", "", "https://"])
def test_a_redirect_to_nowhere_good_is_refused(location: str) -> None:
    script = replies(*[httpx.Response(307, headers={"Location": location})] * 9)
    with pytest.raises(RegistryError) as caught:
        script.client().read_blob(BLOB, io.BytesIO())
    assert caught.value.code == "E7420"


def test_an_upload_is_never_sent_to_another_host() -> None:
    script = replies(httpx.Response(404), httpx.Response(202, headers={"Location": "https://evil.example.net/upload"}))
    with pytest.raises(RegistryError) as caught:
        script.client().push_blob(DATA, "x")
    assert caught.value.code == "E7420"
    assert {request.url.host for request in script.seen} == {HOST}


def test_a_write_is_never_redirected() -> None:
    script = replies(*[httpx.Response(307, headers={"Location": "https://evil.example.net/x"})] * 9)
    with pytest.raises(RegistryRefusedError) as caught:
        script.client().push_manifest(b"{}", media_types.MANIFEST)
    assert caught.value.status == 307
    assert {request.url.host for request in script.seen} == {HOST}


# --- lies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"some byteS", DATA + b"!", DATA[:-1]])
def test_a_blob_of_other_bytes_is_refused(body: bytes) -> None:
    with pytest.raises(RegistryError) as caught:
        replies(httpx.Response(200, content=body)).client().read_blob(BLOB, io.BytesIO())
    assert caught.value.code == "E7420"


def test_a_blob_of_another_size_than_was_said_is_refused() -> None:
    longer = Descriptor(media_type="x", digest=BLOB.digest, size=BLOB.size + 1)
    with pytest.raises(RegistryError) as caught:
        replies(httpx.Response(200, content=DATA)).client().read_blob(longer, io.BytesIO())
    assert caught.value.code == "E7420"


def test_a_file_that_has_changed_is_not_pushed(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(DATA + b"!")
    script = replies()
    with pytest.raises(RegistryError) as caught:
        script.client().push_file(tmp_path / "blob", BLOB)
    assert caught.value.code == "E7420"
    assert script.seen == []


def test_a_blob_over_the_limit_is_not_asked_for() -> None:
    script = replies()
    with pytest.raises(RegistryError, match="too large"):
        script.client().read_blob(BLOB, io.BytesIO(), max_bytes=3)
    assert script.seen == []


def test_a_manifest_under_another_digest_is_refused() -> None:
    with pytest.raises(RegistryError, match="another manifest"):
        replies(httpx.Response(200, content=b"{}")).client().read_manifest(BLOB.digest)


def test_a_tag_whose_header_and_bytes_differ_is_refused() -> None:
    answer = httpx.Response(200, content=b"{}", headers={"Docker-Content-Digest": BLOB.digest})
    with pytest.raises(RegistryError, match="another manifest"):
        replies(answer).client().read_manifest("v1")


def test_a_manifest_without_end_is_refused() -> None:
    with pytest.raises(RegistryError, match="too long"):
        replies(httpx.Response(200, content=b"x" * (4 * 1024 * 1024 + 1))).client().read_manifest("v1")


def test_a_registry_that_stores_other_bytes_is_refused() -> None:
    answer = httpx.Response(201, headers={"Docker-Content-Digest": BLOB.digest})
    with pytest.raises(RegistryError, match="stored other bytes"):
        replies(answer).client().push_manifest(b"{}", media_types.MANIFEST)


# --- faults ----------------------------------------------------------------------------------------------------------


def test_passing_faults_are_tried_again_with_pauses() -> None:
    script = replies(
        httpx.ConnectError("refused"),
        httpx.Response(503),
        httpx.Response(429, headers={"Retry-After": "7"}),
        httpx.Response(200),
    )
    assert script.client().has_blob(BLOB.digest)
    assert script.slept == [1.0, 2.0, 11.0]


@pytest.mark.parametrize("value", [b"\xb2", b"-1", b"12345", b"1.5", b"Wed, 21 Oct 2026 07:28:00 GMT"])
def test_an_odd_retry_after_counts_as_none(value: bytes) -> None:
    script = replies(httpx.Response(429, headers=[(b"Retry-After", value)]), httpx.Response(200))
    assert script.client().has_blob(BLOB.digest)
    assert script.slept == [1.0]


@pytest.mark.parametrize("pem", ["no certificate", "\ufffd", "-----BEGIN CERTIFICATE-----\n\ufffd"])
def test_an_authority_that_cannot_be_read_is_named(pem: str) -> None:
    access = RegistryAccess(registry=HOST, ca_pem=pem)
    with pytest.raises(RegistryError) as caught:
        RepositoryClient(Repository(registry=HOST, path="team/evidence"), access)
    assert (caught.value.code, caught.value.where) == ("E7419", "ca.crt")


def test_attempts_are_bounded() -> None:
    script = replies(*[httpx.Response(503)] * 99)
    with pytest.raises(RegistryRefusedError) as caught:
        script.client().has_blob(BLOB.digest)
    assert caught.value.code == "E7417"
    assert len(script.seen) == 5


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "E7412"), (404, "E7413"), (405, "E7414"), (413, "E7415"), (400, "E7410"), (500, "E7417")],
)
def test_refusals_repeat_the_registrys_words_and_say_what_to_mend(status: int, code: str) -> None:
    body = {"errors": [{"code": "DENIED", "message": "requested access is denied"}]}
    with pytest.raises(RegistryRefusedError) as caught:
        replies(httpx.Response(status, json=body)).client().push_manifest(b"{}", media_types.MANIFEST)
    assert caught.value.code == code
    assert caught.value.why == f"HTTP {status}: DENIED requested access is denied"


def test_a_broken_upload_is_begun_anew() -> None:
    location = {"Location": "/v2/team/evidence/blobs/uploads/1?state=a"}
    script = replies(
        httpx.Response(404),
        httpx.Response(202, headers=location),
        httpx.ReadError("reset"),
        httpx.Response(202, headers=location),
        httpx.Response(201),
    )
    assert script.client().push_blob(DATA, "x").digest == BLOB.digest
    assert [request.method for request in script.seen] == ["HEAD", "POST", "PUT", "POST", "PUT"]
    last = script.seen[-1]
    assert dict(last.url.params) == {"state": "a", "digest": BLOB.digest}
    assert last.content == DATA


def test_a_file_goes_up_in_pieces_each_where_the_registry_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OCI_CHUNK", 4)
    (tmp_path / "blob").write_bytes(DATA)
    places = [httpx.Response(202, headers={"Location": f"/v2/team/evidence/blobs/uploads/{n}"}) for n in range(3)]
    script = replies(httpx.Response(404), *places, httpx.Response(201))
    assert script.client().push_file(tmp_path / "blob", BLOB) == BLOB
    sent = [(r.method, r.url.path[-1], r.headers.get("Content-Range"), r.content) for r in script.seen[2:]]
    assert sent == [
        ("PATCH", "0", "0-3", b"some"),
        ("PATCH", "1", "4-7", b" byt"),
        ("PUT", "2", "8-9", b"es"),
    ]


def test_a_piece_is_never_sent_twice() -> None:
    location = {"Location": "/v2/team/evidence/blobs/uploads/1"}
    once = [httpx.Response(202, headers=location), httpx.Response(503)]
    script = replies(httpx.Response(404), *once, *once, *once)
    with pytest.raises(RegistryRefusedError):
        script.client().push_blob(DATA, "x")
    assert [request.method for request in script.seen] == ["HEAD", *["POST", "PUT"] * 3]


def test_nothing_is_pushed_without_a_range() -> None:
    location = {"Location": "/v2/team/evidence/blobs/uploads/1"}
    script = replies(httpx.Response(404), httpx.Response(202, headers=location), httpx.Response(201))
    script.client().push_blob(b"", "x")
    assert script.seen[-1].content == b""
    assert "Content-Range" not in script.seen[-1].headers


def test_what_is_there_is_not_pushed_again() -> None:
    script = replies(httpx.Response(200))
    script.client().push_blob(DATA, "x")
    assert [request.method for request in script.seen] == ["HEAD"]
