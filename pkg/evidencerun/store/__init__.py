# SPDX-License-Identifier: Apache-2.0
"""The evidence store: HTTPS API, identities, files on one volume, pod logs, evaluation, assembly.

The volume is the only truth: whatever is answered with 2xx has been flushed to it first, and a restart continues from
it. The store holds no signing key.
"""
