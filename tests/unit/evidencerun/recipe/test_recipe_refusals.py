# SPDX-License-Identifier: Apache-2.0
"""Recipes that are refused: one file per defect, whose second line says code and place."""

from __future__ import annotations

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
