# SPDX-License-Identifier: Apache-2.0
"""Starting a process in namespaces: the launcher's side, below `nsenter.launch`."""
