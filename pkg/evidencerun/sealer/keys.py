# SPDX-License-Identifier: Apache-2.0
"""Where the signing key comes from: the mounted Secret if one is named, else a key of the sealer's own."""

from __future__ import annotations

from typing import Final

from evidencerun.errors import SigningError
from evidencerun.sealer.settings import Settings
from evidencerun.signers.key import KeySigner, own_key, read_key

KEY_FILE: Final = "signing.key"


def current_signer(settings: Settings) -> KeySigner:
    """Return the signer as the files have it now, so that a rotated Secret counts without a restart.

    Raises:
        SigningError: E4701, the named Secret is not mounted yet; E4710 to E4712 for a key that cannot be used.

    """
    if not settings.secret_name:
        return own_key(settings.key_folder)
    signer = read_key(settings.secret_folder / KEY_FILE)
    if signer is None:
        name = settings.secret_name
        raise SigningError(
            "E4701",
            f"signing Secret {name} not mounted yet",
            why=f"it does not exist or has no key {KEY_FILE}",
            fix=f"kubectl create secret generic {name} -n {settings.namespace} --from-file={KEY_FILE}=FILE",
        )
    return signer
