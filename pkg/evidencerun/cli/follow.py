# SPDX-License-Identifier: Apache-2.0
"""Following a run until it ends: live on a terminal, one line per change elsewhere.

Progress goes to standard error, so that standard output stays a result. The run in the cluster never depends on the
follower: Ctrl-C, a lost connection or a closed laptop leave it going.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import click

from evidencerun.cli.exits import Exit
from evidencerun.cli.progress import Description, describe
from evidencerun.cli.run_objects import read_run
from evidencerun.errors import ClusterError
from evidencerun.kube.sync import KubeconfigCluster

_POLL_SECONDS: Final = 1.0
_HEARTBEAT_SECONDS: Final = 60.0


class Screen:
    """Where progress is shown; the base shows one line per change."""

    def __init__(self) -> None:
        self._key = ""
        self._said = 0.0

    def show(self, description: Description) -> None:
        """Print the headline and the rows that are new, or a heartbeat once a minute."""
        now = time.monotonic()
        if description.key != self._key:
            known = set(self._key.splitlines())
            click.echo(description.headline, err=True)
            for row in description.rows:
                if row not in known and not row.startswith("  ... "):
                    click.echo(row, err=True)
        elif now - self._said < _HEARTBEAT_SECONDS:
            return
        else:
            click.echo(description.headline, err=True)
        self._key, self._said = description.key, now

    def trouble(self, text: str) -> None:
        """Say that the cluster does not answer."""
        click.echo(text, err=True)

    def close(self) -> None:
        """Leave the terminal as it was."""


class LiveScreen(Screen):
    """A region at the end of the normal screen that is redrawn in place; scrollback stays usable."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console  # a second's worth of imports that pipes do not need
        from rich.live import Live

        self._live = Live(console=Console(stderr=True, highlight=False), auto_refresh=False, transient=False)
        self._live.start()

    def show(self, description: Description) -> None:
        """Redraw the whole description."""
        from rich.text import Text

        self._live.update(Text("\n".join([description.headline, *description.rows])), refresh=True)

    def trouble(self, text: str) -> None:
        """Print above the region."""
        self._live.console.print(text, markup=False)

    def close(self) -> None:
        """Keep the last picture."""
        self._live.stop()


def follow(
    cluster: KubeconfigCluster, namespace: str, name: str, *, timeout: float | None, output: str = "text"
) -> Exit:
    """Follow the run until it is complete and return the exit code of its verdict.

    `timeout` is in seconds. Ctrl-C returns `INTERRUPTED` and says how to attach again.
    """
    screen: Screen = LiveScreen() if sys.stderr.isatty() else Screen()
    again = f"{click.get_current_context().find_root().info_name} status -n {namespace} {name} --wait"
    last: dict[str, Any] = {}
    try:
        last, description = _poll(lambda: read_run(cluster, namespace, name), timeout, screen.show, screen.trouble)
    except KeyboardInterrupt:
        screen.close()
        click.echo(f"\nThe run goes on in the cluster. Attach again: {again}", err=True)
        return Exit.INTERRUPTED
    finally:
        screen.close()
    if description.finished:
        click.echo(f"Exit       {int(description.exit_code)} {description.exit_code.name}", err=True)
    else:
        click.echo(f"The run goes on in the cluster after the time given. Attach again: {again}", err=True)
    if output == "json":
        click.echo(json.dumps(last, indent=2, sort_keys=True))
    return description.exit_code


def _poll(
    read: Callable[[], dict[str, Any]],
    timeout: float | None,
    show: Callable[[Description], None],
    trouble: Callable[[str], None],
) -> tuple[dict[str, Any], Description]:
    deadline = None if timeout is None else time.monotonic() + timeout
    quiet_until = 0.0
    while True:
        try:
            run = read()
        except ClusterError as error:
            if not error.retryable or (deadline and time.monotonic() > deadline):
                raise
            if time.monotonic() > quiet_until:
                trouble(f"{error} - trying again; the run does not depend on this connection")
                quiet_until = time.monotonic() + _HEARTBEAT_SECONDS
            time.sleep(_POLL_SECONDS)
            continue
        description = describe(run, datetime.now(UTC))
        show(description)
        if description.finished or (deadline and time.monotonic() > deadline):
            return run, description
        time.sleep(_POLL_SECONDS)
