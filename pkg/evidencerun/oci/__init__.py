# SPDX-License-Identifier: Apache-2.0
"""A client for OCI 1.1 registries: exact bytes in and out, every digest checked, referrers with their fallback tag."""
