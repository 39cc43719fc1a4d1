# SPDX-License-Identifier: Apache-2.0
"""Entry point of the image for checks: `python3 -m evidencerun.checks.main NAME`.

The first argument names the check, as in AICR's catalog. Whatever goes wrong in looking ends with exit code 3, so that
it is recorded as `other` and never as a verdict about the cluster.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TextIO

from evidencerun import limits
from evidencerun.checks.checkresult import CheckResult, Ending, emit
from evidencerun.errors import Error, WorldError


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the contract gives a check: its variables and where it may leave files."""

    environ: Mapping[str, str]

    def path(self, variable: str, default: str) -> Path:
        """Return the path that a variable names."""
        return Path(self.environ.get(variable) or default)

    def leave(self, name: str, document: Mapping[str, Any] | Sequence[Any]) -> None:
        """Write a result file whole, by way of a name that the sidecar does not take."""
        folder = self.path("EVIDENCERUN_RESULTS", "/results")
        partial = folder / f".{name}.part"
        try:
            partial.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            partial.replace(folder / name)
        except OSError as fault:
            raise WorldError("E7701", "a result cannot be written", where=str(folder / name), why=str(fault)) from fault


def expected_resources(around: Surroundings) -> CheckResult:
    """Run the check of this name."""
    from evidencerun.checks import expected_resources as check
    from evidencerun.checks.workloadimages import images_list
    from evidencerun.kube.incluster import reader_from_pod
    from evidencerun.recipe import load_recipe

    recipe = load_recipe(_recipe(around.path("AICR_RECIPE_PATH", "/data/recipe/recipe.yaml")))
    enabled = [component for component in recipe.components if component.enabled]
    inspection = check.Inspection()
    if enabled:  # a recipe that expects nothing needs no access to the API
        with reader_from_pod(around.environ) as reader:
            inspection = check.inspect(enabled, reader)
    around.leave("details.json", check.details(inspection))
    around.leave("images.json", images_list(inspection.images))
    return check.judge(inspection)


def node_agreement(around: Surroundings) -> CheckResult:
    """Run the check of this name."""
    from evidencerun.checks import node_agreement as check
    from evidencerun.checks.nodes_stream import node_entries

    path = around.path("EVIDENCERUN_NODES_PATH", "/data/nodes/nodes.json")
    nodes = [check.summary(entry) for entry in node_entries(path)]
    around.leave("details.json", check.details(nodes))
    return check.compare(nodes)


CHECKS: Final[Mapping[str, Callable[[Surroundings], CheckResult]]] = {
    "expected-resources": expected_resources,
    "node-agreement": node_agreement,
}


def main() -> int:
    """Run the check that the first argument names; return the exit code of the contract."""
    # The first process of a container has no default action for signals: it would ignore SIGTERM.
    signal.signal(signal.SIGTERM, _stopped)
    return run(sys.argv[1:], os.environ, sys.stdout)


def run(arguments: Sequence[str], environ: Mapping[str, str], out: TextIO) -> int:
    """Run one check; `arguments` are those of the container."""
    around = Surroundings(environ=environ)
    log = around.path("EVIDENCERUN_TERMINATION_LOG", "/dev/termination-log")
    name = arguments[0] if arguments else ""
    check = CHECKS.get(name)
    if check is None:
        message = f"there is no check {name[:80]!r}; the checks of this image are {', '.join(sorted(CHECKS))}"
        return emit(CheckResult(status=Ending.OTHER, message=message), out=out, termination_log=log)
    return emit(_outcome(check, around), out=out, termination_log=log)


def _outcome(check: Callable[[Surroundings], CheckResult], around: Surroundings) -> CheckResult:
    try:
        return check(around)
    except Error as fault:
        return CheckResult(status=Ending.OTHER, message=f"the check could not look: {fault.diagnostics()}")
    except Exception as fault:
        text = f"{type(fault).__name__}: {fault}"[:2000]
        return CheckResult(status=Ending.OTHER, message=f"the check broke, which says nothing of the cluster: {text}")


def _stopped(number: int, frame: object) -> NoReturn:
    """End as a shell reports a killed program: no verdict."""
    del frame
    raise SystemExit(128 + number)


def _recipe(path: Path) -> bytes:
    """Return the recipe, and one byte more than one may have if it is too long, so that its reader says so."""
    try:
        with path.open("rb") as file:
            return file.read(limits.RECIPE_MAX + 1)
    except OSError as fault:
        raise WorldError("E7704", "the recipe cannot be read", where=str(path), why=str(fault)) from fault


if __name__ == "__main__":
    sys.exit(main())
