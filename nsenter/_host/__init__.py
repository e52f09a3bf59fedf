# SPDX-License-Identifier: Apache-2.0
"""What this machine offers: system calls, /proc, and why namespaces may not work here."""
