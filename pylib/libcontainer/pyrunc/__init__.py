# SPDX-License-Identifier: Apache-2.0
"""pyrunc: an OCI runtime with runc's command line, on libcontainer."""
