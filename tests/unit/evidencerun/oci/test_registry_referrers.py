# SPDX-License-Identifier: Apache-2.0
"""Referrers against scripted answers: the API, the fallback tag, pages, lost updates. Real ones: tests/integration."""

from __future__ import annotations

import json

import httpx
import pytest
from scripted_registry import BLOB, Script, replies

from evidencerun.canonical import sha256_prefixed
from evidencerun.errors import RegistryError
from evidencerun.oci import media_types
from evidencerun.oci.faults import RegistryRefusedError
from evidencerun.oci.referrers import Attachment, Way, ensure_listed, list_referrers, referrer_manifest
from evidencerun.oci.registry import Descriptor

SUBJECT = Descriptor(media_type=media_types.MANIFEST, digest="sha256:" + "a" * 64, size=9)
ATTACHMENT = Attachment(
    artifact_type=media_types.SIGSTORE_BUNDLE, layer=BLOB, title="attestation", annotations={"k": "v"}
)
INDEX = {"Content-Type": media_types.INDEX}


def index(*digests: str, **headers: str) -> httpx.Response:
    entries = [{"digest": digest, "artifactType": media_types.SIGSTORE_BUNDLE} for digest in digests]
    return httpx.Response(200, json={"manifests": entries}, headers=INDEX | headers)


def test_a_referrers_manifest_is_what_verifiers_look_for() -> None:
    data = referrer_manifest(SUBJECT, ATTACHMENT)
    document = json.loads(data)
    assert document["subject"]["digest"] == SUBJECT.digest
    assert document["artifactType"] == media_types.SIGSTORE_BUNDLE
    assert document["layers"][0]["mediaType"] == BLOB.media_type
    assert len(document["layers"]) == 1
    assert document["config"]["digest"] == sha256_prefixed(b"{}")
    assert referrer_manifest(SUBJECT, ATTACHMENT) == data


def test_referrers_are_listed_over_all_pages_and_filtered_again() -> None:
    other = {"digest": "sha256:o", "artifactType": "other"}
    first = httpx.Response(
        200,
        json={"manifests": [{"digest": "sha256:1", "artifactType": media_types.SIGSTORE_BUNDLE}, other]},
        headers=INDEX | {"Link": '</v2/team/evidence/referrers/x?last=1>; rel="next"'},
    )
    listing = list_referrers(replies(first, index("sha256:2")).client(), SUBJECT.digest, media_types.SIGSTORE_BUNDLE)
    assert [entry["digest"] for entry in listing.entries] == ["sha256:1", "sha256:2"]
    assert listing.way is Way.API


@pytest.mark.parametrize("status", [400, 404, 405])
def test_without_the_api_the_tag_is_read(status: int) -> None:
    script = replies(httpx.Response(status), index("sha256:1"))
    listing = list_referrers(script.client(), SUBJECT.digest)
    assert listing.way is Way.TAG
    assert script.seen[1].url.path.endswith(f"/manifests/sha256-{'a' * 64}")


def test_an_artifact_without_referrers_has_none() -> None:
    listing = list_referrers(replies(httpx.Response(404), httpx.Response(404)).client(), SUBJECT.digest)
    assert listing.entries == ()


def test_a_login_that_fails_is_no_missing_api() -> None:
    with pytest.raises(RegistryRefusedError):
        list_referrers(replies(httpx.Response(403)).client(), SUBJECT.digest)


def test_too_many_referrers_are_not_read_to_their_end() -> None:
    page = index(*[f"sha256:{number}" for number in range(600)], Link='</v2/next>; rel="next"')
    with pytest.raises(RegistryError, match="too many"):
        list_referrers(replies(page, page).client(), SUBJECT.digest)


def test_empty_pages_in_a_circle_come_to_an_end() -> None:
    def again(request: httpx.Request) -> httpx.Response:
        return index(Link=f'<{request.url.path}>; rel="next"')

    with pytest.raises(RegistryError, match="too many"):
        list_referrers(Script(again).client(), SUBJECT.digest)


def test_a_lost_update_of_the_fallback_index_is_repaired() -> None:
    mine, theirs = Descriptor(media_type=media_types.MANIFEST, digest="sha256:mine", size=1), "sha256:theirs"
    none = httpx.Response(404)
    script = replies(
        none, none, httpx.Response(201),  # nothing is there: written
        none, index(theirs), httpx.Response(201),  # somebody else wrote at the same time: written again
        none, index(theirs, mine.digest),
    )  # fmt: skip
    assert ensure_listed(script.client(), SUBJECT, mine, ATTACHMENT) is Way.TAG
    written = json.loads([request for request in script.seen if request.method == "PUT"][-1].content)
    assert [entry["digest"] for entry in written["manifests"]] == [theirs, mine.digest]


def test_a_registry_that_never_lists_it_is_an_error() -> None:
    mine = Descriptor(media_type=media_types.MANIFEST, digest="sha256:mine", size=1)
    slept: list[float] = []
    script = Script(lambda request: index("sha256:other"))
    with pytest.raises(RegistryError) as caught:
        ensure_listed(script.client(), SUBJECT, mine, ATTACHMENT, sleep=slept.append)
    assert caught.value.code == "E7423"
    assert len(slept) == 5


def test_an_index_of_nothing_may_be_null() -> None:
    answer = httpx.Response(200, content=b'{"manifests": null}', headers=INDEX)
    assert list_referrers(replies(answer).client(), SUBJECT.digest).entries == ()


@pytest.mark.parametrize("body", [b"[]", b"null", b"no", b'{"manifests": {}}', b'{"manifests": [1]}'])
def test_an_index_that_cannot_be_read_is_an_error(body: bytes) -> None:
    answer = httpx.Response(200, content=body, headers=INDEX)
    with pytest.raises(RegistryError) as caught:
        list_referrers(replies(answer).client(), SUBJECT.digest)
    assert caught.value.code == "E7422"
