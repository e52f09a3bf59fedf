/* SPDX-License-Identifier: Apache-2.0 */
/* The files that an image is made of. */
#ifndef NSX_DUMP_FILES_H
#define NSX_DUMP_FILES_H

#include <sys/stat.h>

#include "interpreter/dump_tables.h"

/* Returns the number of a mapped file among the files, and adds it if it is not there yet. */
uint32_t dump_add_mapped_file(struct dump_tables *t, const char *path, const struct stat *st);

/*
 * Add the source files of the modules in the image. nsenter/_interpreter/image_files.py wrote the
 * list (a count, the records, strings), from what it saw before the files were read: a file that
 * changes meanwhile makes the image invalid.
 */
void dump_add_listed_files(struct dump_tables *t, int list_fd);

#endif
