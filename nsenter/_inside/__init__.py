# SPDX-License-Identifier: Apache-2.0
"""What runs in the namespaces: the first Python there, and what it does for its caller."""
