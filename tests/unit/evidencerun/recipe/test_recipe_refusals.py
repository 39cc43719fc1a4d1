# SPDX-License-Identifier: Apache-2.0
"""Recipes that are refused: one file per defect, whose second line says code and place."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from evidencerun.errors import InputError
from evidencerun.recipe import load_recipe

BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))


def test_there_are_bad_recipes() -> None:
    assert len(BAD) > 30


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_refused_with_code_and_place(path: Path) -> None:
    data = path.read_bytes()
    expected = data.split(b"\n")[1].decode().removeprefix("# expect: ")

    with pytest.raises(InputError) as caught:
        load_recipe(data)

    assert f"{caught.value.code} {caught.value.where or '-'}" == expected
    assert caught.value.why


def test_a_misspelt_field_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"validation\.deployment\.cheks is not a known field .did you mean checks"):
        load_recipe((BAD[0].parent / "misspelt-checks.yaml").read_bytes())


def test_a_recipe_beyond_the_limit_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        load_recipe(b"#" * (1 << 20) + b"\n")

    assert caught.value.code == "E1101"


HEAD = b"apiVersion: aicr.run/v1\nkind: RecipeResult\n"


def test_more_unknown_fields_than_a_format_can_have_new_ones_are_refused() -> None:
    assert len(load_recipe(HEAD + b"".join(b"zq%d: 1\n" % number for number in range(1000))).unknown_fields) == 1000
    with pytest.raises(InputError, match="more than 1000 fields are not known") as caught:
        load_recipe(HEAD + b"".join(b"zq%d: 1\n" % number for number in range(9000)))
    assert (caught.value.code, caught.value.where) == ("E1203", "line 1003, column 1")


def test_more_checks_than_can_be_recorded_are_refused() -> None:
    def declaring(first: int, second: int) -> bytes:
        names = [", ".join(f"c{number}" for number in range(count)) for count in (first, second)]
        phases = f"deployment: {{checks: [{names[0]}]}}, conformance: {{checks: [{names[1]}]}}"
        return HEAD + f"validation: {{{phases}}}\n".encode()

    assert len(load_recipe(declaring(1000, 24)).phase("conformance").checks) == 24
    with pytest.raises(InputError, match="at most 1024 can be recorded") as caught:
        load_recipe(declaring(1000, 25))
    assert caught.value.code == "E1206"


def test_more_components_than_a_cluster_has_are_refused() -> None:
    def deploying(count: int) -> bytes:
        return HEAD + b"componentRefs:\n" + b"".join(b"- {name: c%d}\n" % number for number in range(count))

    assert len(load_recipe(deploying(500)).components) == 500
    with pytest.raises(InputError, match="at most 500 are read") as caught:
        load_recipe(deploying(501))
    assert (caught.value.code, caught.value.where) == ("E1204", "line 504, column 3")


@pytest.mark.parametrize("text", ["validation: {deployment: {checks: [%s]}}\n", "%s"])
def test_long_lists_are_read_in_time_that_grows_with_their_length(text: str) -> None:
    """Once each of thousands of names was compared with all the others; the operator stood still meanwhile."""
    names = (", ".join if "[" in text else "".join)(f"c{n}" if "[" in text else f"zq{n}: 1\n" for n in range(9500))
    begun = time.process_time()
    with pytest.raises(InputError):
        load_recipe(HEAD + (text % names).encode())
    assert time.process_time() - begun < 2
