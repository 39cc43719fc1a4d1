# SPDX-License-Identifier: Apache-2.0
"""The program on each node: reads what the node is, hands it to the store, and stays."""
