/* SPDX-License-Identifier: Apache-2.0 */
/* The signals of a process that a caller has started, whatever the caller did with its own. */
#ifndef NSX_SIGNALS_H
#define NSX_SIGNALS_H

#include <stdint.h>

#define SIGNAL_MAX 64

/* Sets of signals, as the kernel has them: bit 0 is signal 1. */
#define NO_SIGNALS	    0ULL
#define ALL_SIGNALS	    (~0ULL)
#define ONLY_SIGNAL(number) (1ULL << ((number)-1))

/* Block the signals of this set and no others; returns those that were blocked before. */
uint64_t signals_block(uint64_t set);

/* Give every signal its default action, apart from those of this set. */
void signals_reset(uint64_t except);

#endif
