/* SPDX-License-Identifier: Apache-2.0 */
/* What rseq(2) takes, and what the kernel and glibc write to the area of a thread. */
#ifndef NSX_RSEQ_H
#define NSX_RSEQ_H

#include <sys/syscall.h>

#ifndef SYS_rseq
#define SYS_rseq 334
#endif

#define RSEQ_BYTES	  32 /* what glibc registers unless the kernel has more to tell */
#define RSEQ_UNREGISTER	  1
#define RSEQ_SIGNATURE	  0x53053053
#define RSEQ_CPU_ID	  4 /* the offset of the field `cpu_id` */
#define RSEQ_UNREGISTERED (-1)
#define RSEQ_FAILED	  (-2)

#endif
