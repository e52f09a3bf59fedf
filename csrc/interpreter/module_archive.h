/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bundle: the modules that an interpreter boots from, in one sealed memfd that the parent
 * has made (nsenter/_interpreter/module_archive.py writes it). In native byte order:
 *
 *   header      magic, the sizes of the tables, which layout the interpreter's table has, how many
 *               extensions are late
 *   modules     one record each: name, marshalled code, whether it is a package
 *   extensions  the offset of one path each
 *   strings and code, wherever the records point
 */
#ifndef NSX_MODULE_ARCHIVE_H
#define NSX_MODULE_ARCHIVE_H

#include <stdbool.h>

#include "base/err.h"

/* Map the bundle, make its modules the interpreter's frozen ones, and load its extension
 * modules while their files can be reached. The descriptor is closed. */
int archive_install(int fd, struct err *err);

/* As archive_install(), of a bundle that is mapped already. Extensions are loaded if `loads` says
 * so. None may be late.
 */
int archive_install_mapped(const void *data, size_t size, bool loads, struct err *err);

/* Whether there are extensions that only a Python that runs can load: their constructors call it.
 */
bool archive_is_late(void);
/* Load them, in a Python that runs. */
int archive_load_late(struct err *err);

#endif
