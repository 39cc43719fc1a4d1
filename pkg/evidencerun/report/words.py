# SPDX-License-Identifier: Apache-2.0
"""Small phrases that several outputs for people share; pure."""

from __future__ import annotations


def recipe_title(name: str) -> str:
    """Return a recipe's name so that it is not misread.

    A recipe is named after what it asks for: one that asks for no accelerator is called `none`, one that asks for
    nothing `recipe`.
    """
    if name == "none" or name.startswith("none-"):
        return f"{name} (accelerator none)"
    return "recipe (no criteria)" if name == "recipe" else name


def one_line(text: str) -> str:
    """Return a message of several lines as one."""
    return " ".join(text.split())
