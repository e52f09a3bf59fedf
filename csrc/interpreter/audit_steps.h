/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps in C that a running interpreter asks for.
 *
 * What is given up for good (the ids, the system calls) is given up when the payload's code is
 * there and about to be called, and only the interpreter knows when that is. It says so by an audit
 * event (sys.audit). An audit hook is the one way from Python to C that takes no header of CPython
 * and no module, and that can be set up before the interpreter boots (PySys_AddAuditHook).
 */
#ifndef NSX_AUDIT_STEPS_H
#define NSX_AUDIT_STEPS_H

#include "base/err.h"

struct audit_step {
	const char *event;
	void (*carry_out)(void);
};

/*
 * Carry out each of the steps, which stay where they are, when the interpreter names its event:
 * once, and in this order. The payload can say the same events later, and must not be able to have
 * a step carried out by that.
 */
int audit_steps_install(const struct audit_step *steps, size_t count, struct err *err);

#endif
