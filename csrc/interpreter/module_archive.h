/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The module archive: the modules that an interpreter boots from. The parent makes it,
 * in a sealed memfd (nsenter/_interpreter/module_archive.py). In native byte order, it has:
 *
 *   header      the magic, the sizes of the tables, the version of Python that the code is for, and
 *               how many extensions are late
 *   modules     a record for each: its name, its marshalled code, whether it is a package
 *   extensions  the offset of a path for each
 *   strings and code, wherever the records point
 */
#ifndef NSX_MODULE_ARCHIVE_H
#define NSX_MODULE_ARCHIVE_H

#include <stdbool.h>

#include "base/err.h"

/* Map the module archive, make its modules the interpreter's frozen modules, and load its extension
 * modules while their files can be reached. The descriptor is closed. */
int archive_install(int fd, struct err *err);

/* The same for a module archive that is mapped already, and that has no late extensions. Extensions
 * are only loaded if `loads` says so. */
int archive_install_mapped(const void *data, size_t size, bool loads, struct err *err);

/* Returns whether there are late extensions: their constructors call Python, so that they can only
 * be loaded when it runs. */
bool archive_is_late(void);
/* Load them. */
int archive_load_late(struct err *err);

#endif
