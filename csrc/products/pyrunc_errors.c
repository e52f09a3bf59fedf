/* SPDX-License-Identifier: Apache-2.0 */
#include "products/pyrunc_errors.h"

#include <limits.h>
#include <unistd.h>

#include "base/sys.h"

_Noreturn void pyrunc_fail_with(struct text *t)
{
	text_add(t, "\n");
	sys_write(STDERR_FILENO, t->data, t->len);
	sys_exit(1);
}

_Noreturn void pyrunc_fail(const char *what, const char *name)
{
	char buf[2 * PATH_MAX];
	struct text t = TEXT_IN(buf);

	text_add(&t, "pyrunc: ");
	text_add(&t, what);
	text_add(&t, " ");
	text_add(&t, name);
	pyrunc_fail_with(&t);
}

static const char *reason(long result)
{
	switch (-result) {
	case ENOENT:
		return "No such file or directory";
	case ENOTDIR:
		return "Not a directory";
	case EACCES:
		return "Permission denied";
	case ENOEXEC:
		return "Exec format error";
	case ELOOP:
		return "Too many levels of symbolic links";
	case ENOMEM:
		return "Cannot allocate memory";
	case E2BIG:
		return "Argument list too long";
	case EMFILE:
		return "Too many open files";
	default:
		return NULL;
	}
}

static void add_reason(struct text *t, long result)
{
	const char *known = reason(result);

	if (known) {
		text_add(t, known);
		return;
	}
	text_add(t, "errno ");
	text_add_number(t, -result);
}

void pyrunc_add_tried(struct text *t, const char *path, long result)
{
	text_add(t, " ");
	text_add(t, path);
	text_add(t, " (");
	if (result == -EPERM)
		text_add(t, "not used: another user owns it or may write to it");
	else
		add_reason(t, result);
	text_add(t, ")");
}
