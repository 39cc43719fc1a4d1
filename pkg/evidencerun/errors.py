# SPDX-License-Identifier: Apache-2.0
"""Every error that EvidenceRun raises on purpose, one tree, split by who is at fault.

* `Error`

  * `InputError`: what the user gave is wrong (a recipe, a manifest, a flag)
  * `EvidenceError`: the evidence is wrong (a digest, a signature, a structure)
  * `WorldError`: the surroundings did not do their part

    * `ClusterError`: the Kubernetes API
    * `StoreError`: the evidence store
    * `RegistryError`: an OCI registry
    * `ProbeError`: a source on a node
    * `SigningError`: a key, a KMS or Sigstore

Misuse by a programmer stays `ValueError` or `RuntimeError`. Programs catch `Error` and nothing wider.
"""

from __future__ import annotations


class Error(Exception):
    """Base of all errors raised on purpose.

    `code` is stable and documented (`E` and four digits); `what` is one sentence without a final full stop; `where`
    names the place (a file and line, a field path, an object); `why` says what was found and what was expected; `fix`
    is the next move, a literal command where there is one.
    """

    def __init__(self, code: str, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        super().__init__(code, what, where, why, fix)
        self.code = code
        self.what = what
        self.where = where
        self.why = why
        self.fix = fix

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are unpickled by calling their class with `args`, which keyword parameters do not survive; an error
        # that cannot come back from a worker process breaks the whole pool.
        return _restored, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        cause = f" ({self.why})" if self.why else ""
        return f"{place}{self.what}{cause}"

    def diagnostics(self) -> str:
        """Return the text for people: one to four lines, no final newline."""
        lines = [f"{self.code} {self.where}: {self.what}" if self.where else f"{self.code} {self.what}"]
        if self.why:
            lines.append(f"  cause: {self.why}")
        if self.fix:
            lines.append(f"  fix:   {self.fix}")
        return "\n".join(lines)


def shortened(text: str, most: int = 60) -> str:
    """Return a text from outside as it is shown in an error: at most `most` characters, visibly cut."""
    return text if len(text) <= most else text[: most - 3] + "..."


def _restored(kind: type[Error], arguments: tuple[object, ...], state: dict[str, object]) -> Error:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


class InputError(Error):
    """The user's document, flag or object is wrong; nothing was started."""


class EvidenceError(Error):
    """The evidence is not what it claims to be, or cannot be read as evidence."""


class WorldError(Error):
    """Something outside did not answer or refused; the same call may succeed later."""

    def __init__(
        self, code: str, what: str, *, where: str = "", why: str = "", fix: str = "", retryable: bool = True
    ) -> None:
        super().__init__(code, what, where=where, why=why, fix=fix)
        self.retryable = retryable


class ClusterError(WorldError):
    """The Kubernetes API refused or could not be reached.

    `status` is the HTTP status, 0 if there was no answer; `reason` is the API's own word (`NotFound`, `Conflict` …).
    """

    def __init__(
        self,
        code: str,
        what: str,
        *,
        where: str = "",
        why: str = "",
        fix: str = "",
        retryable: bool = True,
        status: int = 0,
        reason: str = "",
    ) -> None:
        super().__init__(code, what, where=where, why=why, fix=fix, retryable=retryable)
        self.status = status
        self.reason = reason


class StoreError(WorldError):
    """The evidence store refused or could not be reached."""


class RegistryError(WorldError):
    """An OCI registry refused or could not be reached."""


class ProbeError(WorldError):
    """A source of facts on a node could not be read."""


class SigningError(WorldError):
    """No signature could be made."""
