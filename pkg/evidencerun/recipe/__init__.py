# SPDX-License-Identifier: Apache-2.0
"""Recipes and validator catalogs: read strictly, named and digested."""

from evidencerun.recipe.catalog import Validator, ValidatorCatalog, load_catalog
from evidencerun.recipe.lint import Finding, Level, Rule, lint
from evidencerun.recipe.model import (
    ANY,
    PHASES,
    Component,
    Criteria,
    ExpectedResource,
    PhasePlan,
    Profile,
    Recipe,
    UnknownField,
)
from evidencerun.recipe.recipe_reader import API_VERSIONS, load_recipe
from evidencerun.recipe.validation_input import validation_input

__all__ = [
    "ANY",
    "API_VERSIONS",
    "PHASES",
    "Component",
    "Criteria",
    "ExpectedResource",
    "Finding",
    "Level",
    "PhasePlan",
    "Profile",
    "Recipe",
    "Rule",
    "UnknownField",
    "Validator",
    "ValidatorCatalog",
    "lint",
    "load_catalog",
    "load_recipe",
    "validation_input",
]
