# SPDX-License-Identifier: Apache-2.0
"""The native sidecar of a check: brings its inputs, carries its results to the store while it runs."""
