# SPDX-License-Identifier: Apache-2.0
"""CycloneDX BOM: what the recipe deploys and which images really ran, with their digests."""
