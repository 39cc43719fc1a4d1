# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, spelled as kubectl spells them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from evidencerun.validation.duration import parse_duration

_OPTIONS = (
    click.option("-n", "--namespace", metavar="NAME", help="Namespace of the run; default: the context's."),
    click.option("--context", metavar="NAME", help="Context of the kubeconfig; default: the current one."),
    click.option("--kubeconfig", type=click.Path(), metavar="FILE", help="Default: $KUBECONFIG, then ~/.kube/config."),
)


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add -n, --context and --kubeconfig to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def follow_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --wait and --timeout to a command."""
    wait = click.option("--wait", is_flag=True, help="Follow the run to its end; the exit code is its verdict's.")
    timeout = click.option(
        "--timeout", type=DurationType(), help="With --wait: stop following after, say, 30m; the run goes on."
    )
    return wait(timeout(function))


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add -o text|json to a command."""
    return click.option(
        "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Output format."
    )(function)


def require_wait(wait: bool, timeout: float | None) -> None:
    """Refuse a --timeout without --wait, which would mean nothing."""
    if timeout is not None and not wait:
        raise click.UsageError("--timeout says how long to follow the run, so it needs --wait")


class DurationType(click.ParamType[float]):
    """A duration such as `15m`; the value is a float of seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse the text; `InputError` explains itself."""
        return value if isinstance(value, float) else parse_duration(str(value), where=param.opts[-1] if param else "")
