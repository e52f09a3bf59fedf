# SPDX-License-Identifier: Apache-2.0
"""The init of a container: what runs after the namespaces are made, until the program is executed.

The init boots from memory, and no code may come from the container's root. So its modules import
only built-in modules, modules of nsenter that travel with them, and each other, and they do so at
the top of the module: that is how the module archive finds what it must hold.
"""
