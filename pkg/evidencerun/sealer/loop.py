# SPDX-License-Identifier: Apache-2.0
"""The sealer's life: ask for work, seal it, say why not. One thing at a time, no state but the key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from evidencerun.errors import Error, EvidenceError, SigningError, StoreError
from evidencerun.sealer.keys import current_signer
from evidencerun.sealer.sealing import seal
from evidencerun.sealer.settings import Settings
from evidencerun.signers.key import KeySigner
from evidencerun.validation.spec import SigningMode
from evidencerun.validation.storeapi import SealAnswer, SealTask

_PAUSE: Final = 1.0
_LONGEST: Final = 10.0


class Store(Protocol):
    """What the sealer needs of the store."""

    def next_task(self) -> SealTask | None:
        """Return the next bundle to sign, or None."""

    def layer(self, manifest_digest: str) -> bytes:
        """Return the layer's bytes."""

    def answer(self, manifest_digest: str, answer: SealAnswer) -> None:
        """Hand in the attestation, or the reason why there is none."""

    def publish(self, public_pem: bytes) -> None:
        """Publish the public key."""


Note = Callable[..., None]
"""Takes an event's name and its fields."""


class Sealer:
    """Seals what the store offers; `note` logs."""

    def __init__(self, settings: Settings, store: Store, note: Note) -> None:
        self._settings = settings
        self._store = store
        self._note = note
        self._published = b""
        self._pause = _PAUSE
        self._trouble = ""

    def step(self) -> float:
        """Do one round; return the seconds until the next."""
        try:
            signer = self._signer()
            task = self._store.next_task()
            if task is not None:
                self._serve(task, signer)
        except StoreError as fault:
            # A store that lost its volume has lost the public key too.
            self._published = b""
            self._complain(str(fault))
            self._pause = min(self._pause * 1.5, _LONGEST)
            return self._pause
        if not isinstance(signer, SigningError):
            self._complain("")
        self._pause = _PAUSE
        return 0.0 if task is not None and not isinstance(signer, SigningError) else _PAUSE

    def _signer(self) -> KeySigner | SigningError:
        """Return the signer, its key published, or why there is none; raises `StoreError`."""
        try:
            signer = current_signer(self._settings)
        except SigningError as fault:
            self._complain(str(fault))
            return fault
        if signer.public_pem != self._published:
            self._store.publish(signer.public_pem)
            self._published = signer.public_pem
            self._note("key.published", signer=signer.identity)
        return signer

    def _serve(self, task: SealTask, signer: KeySigner | SigningError) -> None:
        answer = self._answer(task, signer)
        self._store.answer(task.manifest_digest, answer)
        event = "bundle.signed" if answer.attestation else "bundle.refused"
        self._note(event, run=task.run_uid, manifest=task.manifest_digest, code=answer.error_code, why=answer.error)

    def _answer(self, task: SealTask, signer: KeySigner | SigningError) -> SealAnswer:
        if isinstance(signer, SigningError):
            return _refusal(signer)
        if task.signing_mode != SigningMode.KEY:
            what = f"the policy asks for signing mode {task.signing_mode}, this sealer signs with a key"
            return _refusal(SigningError("E4702", what))
        try:
            attestation = seal(task, self._store.layer(task.manifest_digest), signer)
        except StoreError:
            raise
        except Error as fault:
            return _refusal(fault)
        except Exception as fault:  # a fault of ours must show at its bundle, and not hold up the others
            why = f"{type(fault).__name__}: {fault}"[:500]
            return _refusal(EvidenceError("E4611", "the bundle cannot be checked", why=why))
        return SealAnswer(attestation=attestation.decode(), signer=signer.identity)

    def _complain(self, trouble: str) -> None:
        """Log trouble when it begins, changes or ends, not every second."""
        if trouble != self._trouble:
            self._trouble = trouble
            self._note("sealer.trouble" if trouble else "sealer.well", why=trouble)


def _refusal(fault: Error) -> SealAnswer:
    text = str(fault) + (f". {fault.fix}" if fault.fix else "")
    return SealAnswer(error_code=fault.code, error=text[:4000])
