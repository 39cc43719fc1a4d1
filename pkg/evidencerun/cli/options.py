# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, spelled as kubectl spells them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from evidencerun.validation.duration import parse_duration

_OPTIONS = (
    click.option("-n", "--namespace", help="Namespace; default: the context's."),
    click.option("--context", help="Context of the kubeconfig."),
    click.option("--kubeconfig", type=click.Path(), help="Kubeconfig file; default: $KUBECONFIG, ~/.kube/config."),
)


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add -n, --context and --kubeconfig to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add -o text|json to a command."""
    return click.option(
        "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Output format."
    )(function)


class DurationType(click.ParamType[float]):
    """A duration such as `15m`; the value is a float of seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse the text; `InputError` explains itself."""
        return value if isinstance(value, float) else parse_duration(str(value), where=param.opts[-1] if param else "")
