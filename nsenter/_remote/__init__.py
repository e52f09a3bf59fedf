# SPDX-License-Identifier: Apache-2.0
"""Calls of functions in namespaces: how a call and its answer become bytes, and back."""
