# SPDX-License-Identifier: Apache-2.0
"""Node reports, and the snapshot of a cluster that is made of them."""
