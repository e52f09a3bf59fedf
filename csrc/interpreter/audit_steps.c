/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter/audit_steps.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

/* The steps that are still to come. */
static struct {
	const struct audit_step *next;
	size_t count;
} rest;

static int carry_out_on_event(const char *event, void *args, void *data)
{
	(void)args;
	(void)data;
	if (rest.count && strcmp(event, rest.next->event) == 0) {
		rest.count--;
		rest.next++->carry_out();
	}
	return 0;
}

int audit_steps_install(const struct audit_step *steps, size_t count, struct err *err)
{
	int (*add)(int (*hook)(const char *, void *, void *), void *data);

	rest.next = steps;
	rest.count = count;
	*(void **)&add = dlsym(RTLD_DEFAULT, "PySys_AddAuditHook");
	if (!add || add(carry_out_on_event, NULL) != 0)
		return err_set(err, "dlsym", "PySys_AddAuditHook: not a CPython?", ENOEXEC);
	return 0;
}
