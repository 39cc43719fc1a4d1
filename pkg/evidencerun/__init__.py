# SPDX-License-Identifier: Apache-2.0
"""Evidence about GPU Kubernetes clusters: collected, sealed and verified.

`evidencerun.verify.verify_bundle` judges a bundle; docs/library.md says which names a library's user can rely on.
"""

__version__ = "0.1.0"
