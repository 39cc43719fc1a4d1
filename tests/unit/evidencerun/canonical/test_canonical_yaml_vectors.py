# SPDX-License-Identifier: Apache-2.0
"""The published vectors of the canonical form: input, canonical text, SHA-256."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from evidencerun.canonical import RecipePredicate, canonical_recipe_digest, canonical_yaml, sha256_hex


class Vector(NamedTuple):
    """A document, its canonical form and the digest of that form."""

    given: str
    canonical: str
    digest: str


NESTED = "a:\n    - b:\n        c:\n            - d: 1\n              e:\n                f: g\n"
COMPONENTS = "components:\n    - name: b\n      values:\n        - q\n      version: v1\n    - name: a\n"
STYLES = 'a: "1.2"\nb: \'1.3\'\nc: plain\nd: "plain"\n'
JSON = (
    '{"apiVersion": "aicr.run/v1", "criteria": {"accelerator": "h100", "service": "eks"}, "list": ["b", '
    '{"x": "multi\\nline", "y": 1}], "n": 3, "t": true, "z": null}\n'
)
VECTORS = {
    "comments and order": Vector(
        "# top\nb: 1 # x\na:\n  - z\n  - y\n",
        "a:\n    - z\n    - y\nb: 1\n",
        "46d01d6f80e06cacad3bd23a74bdeaf950e0be7b880246e2e7ee386b8dec3700",
    ),
    "sequence under a key": Vector(
        "a:\n- x\n- y: 1\n  b: 2\n",
        "a:\n    - x\n    - b: 2\n      y: 1\n",
        "ff79f8a0a5931bae35d27f7edfefa96dcff72efcef6dc64d88293444d36919f5",
    ),
    "styles stay": Vector(STYLES, STYLES, "e356f3ccdbefd041d698674a1afd158018e733a6791e53fa2c4ebd6af3edfe0b"),
    "flow stays": Vector(
        "a: {z: 1, b: 2}\nc: [3, 1]\ne: {}\nf: []\n",
        "a: {b: 2, z: 1}\nc: [3, 1]\ne: {}\nf: []\n",
        "3912e7fe5a75c38184370045a5d21cdc8bc479ec0bd5432dfc88b479dbb3a3bb",
    ),
    "CRLF": Vector(
        "b: 1\r\na: 2\r\n", "a: 2\nb: 1\n", "48ddb3cd1823d37f4a7fa72dfe323c9180001835930532eb30f12a805cec264d"
    ),
    "deep nesting": Vector(NESTED, NESTED, "1f0a13c61d5b1bcd53245ace588deb21d757ebb86fb500418836cf5ead88e812"),
    "components": Vector(COMPONENTS, COMPONENTS, "205604306be89f76a2092423f7b535803525c85ad6dda1d7df3ed94b69215cf0"),
    "JSON": Vector(JSON, JSON, "e63e64e368f1512f7c48dc91d27a4ba27aa990fa8332880d29d6aa0384ebf897"),
}

RECIPE = """\
kind: RecipeResult
apiVersion: aicr.run/v1
metadata:
  version: v0.22.0
  appliedOverlays:
    - base
    - eks
criteria:
  service: eks
  accelerator: h100
"""
STRIPPED = {
    RECIPE: "eb0a015f2288530825445fe6fd19eeb7294b92b6bbb18f891e33e1eaf50232cd",
    '{"kind": "RecipeResult", "metadata": {"appliedOverlays": ["base", "eks"], "version": "v1"}}': (
        "4c3868168732cb2f08467090a88ee7d09f79e81a71313d63afc18b8f285d4f65"
    ),
    '{"kind": "RecipeResult", "metadata": {"version": "v1"}, "z": 1}': (
        "e11f29bdad592bc5005cababc39f1f81e35897fad67351d88e05b84c0cbe4522"
    ),
    "kind: RecipeResult\nmetadata:\n    appliedOverlays:\n        - base\n    version: v1\n": (
        "6fef680a1e5425c8d7bcfec0595eae42fe3e9e66ccaa7e8b1a8d8d548a38241e"
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_canonical_form_of_the_vector(name: str) -> None:
    vector = VECTORS[name]

    found = canonical_yaml(vector.given.encode())

    assert found.decode() == vector.canonical
    assert sha256_hex(found) == vector.digest
    assert canonical_yaml(found) == found


@pytest.mark.parametrize("predicate", [RecipePredicate.V1, RecipePredicate.V2])
def test_older_digests_are_over_the_bytes_as_shipped(predicate: RecipePredicate) -> None:
    shipped = canonical_yaml(RECIPE.encode())

    digest = canonical_recipe_digest(shipped, predicate)

    assert digest == "85ffff30808616051693fd1d37f0a08ef9088d68ead4f4e14d0e159477f02064"
    assert canonical_recipe_digest(shipped + b"\n", predicate) != digest


@pytest.mark.parametrize("given", STRIPPED)
def test_v3_digest_leaves_the_producer_version_out(given: str) -> None:
    assert canonical_recipe_digest(given.encode(), RecipePredicate.V3) == STRIPPED[given]


def test_v3_digest_keeps_other_versions() -> None:
    texts = ["a: {version: 1}\n", "version: 1\n", "metadata: {a: {version: 1}}\n", "metadata: []\n", "- version: 1\n"]

    digests = [canonical_recipe_digest(text.encode(), RecipePredicate.V3) for text in texts]

    assert digests == [sha256_hex(text.encode()) for text in texts]


def test_an_empty_metadata_that_was_empty_before_stays() -> None:
    assert canonical_recipe_digest(b"metadata: {}\n", RecipePredicate.V3) == sha256_hex(b"metadata: {}\n")


def test_sorted_json_on_one_line_is_its_own_canonical_form() -> None:
    value = {"a": [], "b": {"x": "#", "y": ": "}, "c": "\t", "d": "é\u00a0中", "e": 1.5, "f": "x" * 1000, "": ""}

    text = (json.dumps(value, sort_keys=True, ensure_ascii=False) + "\n").encode()

    assert canonical_yaml(text) == text
