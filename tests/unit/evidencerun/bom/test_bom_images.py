# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from evidencerun.bom.bom_reader import component_count, container_digests
from evidencerun.bom.cyclonedx_bom import DeployedComponent, SeenImage, build_bom
from evidencerun.bom.images import image_digest, parse_reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image_id", "digest"),
    [
        (f"registry.example.com:5000/a/b@{DIGEST}", DIGEST),
        (f"docker-pullable://a/b@{DIGEST}", DIGEST),
        (DIGEST, DIGEST),
        ("a/b:1", ""),
        (f"a/b@{DIGEST}0", ""),
        (f"a/b@{DIGEST[:-1]}", ""),
        ("docker://" + "a" * 64, ""),
        ("", ""),
    ],
)
def test_digests_of_image_ids(image_id, digest):
    assert image_digest(image_id) == digest


@pytest.mark.parametrize(
    ("text", "repository", "tag", "digest"),
    [
        ("nginx", "nginx", "", ""),
        ("nginx:1.29", "nginx", "1.29", ""),
        ("registry:5000/a/b", "registry:5000/a/b", "", ""),
        ("registry:5000/a/b:1", "registry:5000/a/b", "1", ""),
        (f"registry:5000/a/b:1@{DIGEST}", "registry:5000/a/b", "1", DIGEST),
        (f"a@{DIGEST}", "a", "", DIGEST),
    ],
)
def test_references_are_taken_apart_and_nothing_is_filled_in(text, repository, tag, digest):
    found = parse_reference(text)
    assert (found.repository, found.tag, found.digest) == (repository, tag, digest)


WEB = DeployedComponent(name="web")


def built(images, *, components=(WEB,)):
    return build_bom(
        recipe_name="r",
        producer_version="1",
        run_uri="urn:x",
        timestamp="2026-09-20T10:00:00Z",
        components=components,
        images=images,
    )


def test_the_order_in_which_images_come_changes_nothing():
    images = [SeenImage(image=f"i{n}:1", image_id=f"i{n}@{DIGEST}", role="check", places=(f"p{n}",)) for n in range(4)]
    assert built(images) == built(reversed(images))


def test_an_image_that_runs_in_several_places_is_one_component():
    images = [SeenImage(image="i:1", image_id=f"i@{DIGEST}", role=role) for role in ("check", "probe", "workload")]
    data, count = built(images)
    assert count == component_count(data) == 2
    assert container_digests(data) == {"check": {DIGEST}, "probe": {DIGEST}, "workload": {DIGEST}}


@pytest.mark.parametrize("name", ["", "/", "a/", "@", ":", "?", "#", "\u202e", "%00", " ", "a b"])
def test_a_name_that_no_registry_has_has_no_package_url(name):
    data, _ = built([SeenImage(image=name, image_id="", role="workload")])
    container = next(part for part in json.loads(data)["components"] if part["type"] == "container")
    assert "purl" not in container


@pytest.mark.parametrize("components", [(), (DeployedComponent(name="web", version="1" * 2000),)])
def test_what_a_recipe_says_is_nothing_that_the_library_warns_of(components):
    data, count = built([SeenImage(image="i:1", image_id=f"i@{DIGEST}", role="check")], components=components)
    assert count == 1 + len(components)
    assert container_digests(data)["check"] == {DIGEST}
