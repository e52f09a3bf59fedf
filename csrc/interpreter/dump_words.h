/* SPDX-License-Identifier: Apache-2.0 */
/* Words in saved memory that point to where each process has its own: its stack, and the vDSO. */
#ifndef NSX_DUMP_WORDS_H
#define NSX_DUMP_WORDS_H

#include "interpreter/dump_tables.h"

/*
 * Add each such word, so that interpreter/restore.c gives it the value that it must have in the new
 * process. Each has to be of a known kind. If one is not, no image is made: a pointer into a stack
 * that is no longer there would have the interpreter read and write other memory.
 */
void dump_add_words(struct dump_tables *t);

#endif
