# SPDX-License-Identifier: Apache-2.0
"""What people and programs are shown of a verification or of a bundle's contents."""
