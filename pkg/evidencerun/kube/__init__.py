# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API as this project uses it: a dozen calls, plain dicts in and out, one error type."""
