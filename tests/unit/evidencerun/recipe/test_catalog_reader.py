# SPDX-License-Identifier: Apache-2.0
"""Validator catalogs of both generations."""

from __future__ import annotations

import pytest

from evidencerun.errors import InputError
from evidencerun.recipe import Validator, load_catalog

ENTRY = "{name: dra-support, phase: conformance, image: r/i:latest, timeout: 5m, args: [x], env: [{name: A, value: 1}]}"


def catalog(api_version: str = "validator.nvidia.com/v1alpha1", entries: str = ENTRY) -> bytes:
    return (
        f"apiVersion: {api_version}\nkind: ValidatorCatalog\nmetadata: {{name: n, version: 1.0.0}}\n"
        f"validators: [{entries}]\n"
    ).encode()


@pytest.mark.parametrize("version", ["validator.nvidia.com/v1alpha1", "aicr.nvidia.com/v1"])
def test_both_generations(version: str) -> None:
    found = load_catalog(catalog(version))

    assert (found.api_version, found.name, found.version) == (version, "n", "1.0.0")
    assert found.validators == (
        Validator(
            name="dra-support",
            phase="conformance",
            image="r/i:latest",
            timeout="5m",
            args=("x",),
            env=(("A", "1"),),
        ),
    )


REFUSED = {
    "an unknown apiVersion": (catalog("aicr.run/v1"), "E1220"),
    "another kind": (catalog().replace(b"ValidatorCatalog", b"Catalog"), "E1220"),
    "a name twice": (catalog(entries=f"{ENTRY}, {ENTRY}"), "E1221"),
    "a name that is no label": (catalog(entries="{name: A_b, phase: conformance, image: i}"), "E1221"),
    "an unknown phase": (catalog(entries="{name: a, phase: readiness, image: i}"), "E1221"),
    "no image": (catalog(entries="{name: a, phase: conformance}"), "E1202"),
    "a misspelt member": (catalog(entries="{name: a, phase: conformance, image: i, timeuot: 5m}"), "E1203"),
    "an alias": (catalog(entries="&a {name: a, phase: conformance, image: i}, *a"), "E1111"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    document, code = REFUSED[name]

    with pytest.raises(InputError) as caught:
        load_catalog(document)

    assert caught.value.code == code
