# SPDX-License-Identifier: Apache-2.0
"""The evidence store as the small programs on nodes and in check pods see it; standard library only.

Measured: `import http.client, ssl` takes 0.06 s and 17 MB, `import httpx` 0.47 s and 32 MB. These programs make a
handful of requests on every node of a cluster, so they do without httpx.
"""

from evidencerun.storeclient.client import Answer, Download, Endpoint, StoreClient
from evidencerun.storeclient.exchange import StoreRefusedError
from evidencerun.storeclient.patience import Backoff, Clock, keep_trying
from evidencerun.storeclient.steplog import StepLog, utc_text

__all__ = [
    "Answer",
    "Backoff",
    "Clock",
    "Download",
    "Endpoint",
    "StepLog",
    "StoreClient",
    "StoreRefusedError",
    "keep_trying",
    "utc_text",
]
