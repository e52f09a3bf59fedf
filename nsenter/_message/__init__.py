# SPDX-License-Identifier: Apache-2.0
"""The messages on the init pipe: what the launcher sends, as bytes and as data."""
