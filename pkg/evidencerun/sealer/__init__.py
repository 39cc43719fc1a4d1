# SPDX-License-Identifier: Apache-2.0
"""The sealer: the only holder of the signing key, without a port and without an API token (docs/architecture.md)."""
