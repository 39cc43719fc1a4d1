# SPDX-License-Identifier: Apache-2.0
"""The sealer trusts the store's own CA and no other: a CA that is missing, empty or none is told, never replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from evidencerun.errors import StoreError
from evidencerun.sealer.settings import Settings
from evidencerun.sealer.store_client import StoreClient


@pytest.mark.parametrize(
    ("authority", "words"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"no certificate", ""),
        ("-----BEGIN CERTIFICATE-----\n\u00e9\n-----END CERTIFICATE-----\n".encode(), ""),
    ],
)
def test_without_the_stores_ca_nothing_is_asked(tmp_path: Path, authority: bytes | None, words: str) -> None:
    (tmp_path / "token").write_text("token", encoding="ascii")
    if authority is not None:
        (tmp_path / "ca.crt").write_bytes(authority)
    settings = Settings.from_environment(
        {
            "EVIDENCERUN_STORE_URL": "https://localhost:1",
            "EVIDENCERUN_STORE_CA_FILE": str(tmp_path / "ca.crt"),
            "EVIDENCERUN_TOKEN_FILE": str(tmp_path / "token"),
        }
    )
    client = StoreClient(settings)
    with pytest.raises(StoreError) as caught:
        client.next_task()
    assert caught.value.code == "E4600"
    assert words in caught.value.why
    assert "refused" not in caught.value.why, "it tried to connect"
