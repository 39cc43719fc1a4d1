# SPDX-License-Identifier: Apache-2.0
"""The command `evr`, which is `kubectl evr` as well. Nothing here is a library: import the packages below instead."""
