/* SPDX-License-Identifier: Apache-2.0 */
#include "base/proc.h"

#include "base/descriptor.h"

const char *proc_path(struct text *t, int pid, const char *file)
{
	text_add(t, "/proc/");
	text_add_number(t, pid);
	text_add(t, "/");
	text_add(t, file);
	return text_end(t);
}

int proc_write(const char *path, struct span content, struct err *err)
{
	OWNED_FD fd = sys_open(path, O_WRONLY);
	long n;

	if (fd < 0)
		return err_set(err, "open", path, fd);
	n = sys_write(fd, content.data, content.len);
	if (n == (long)content.len)
		return 0;
	return err_set(err, "write", path, n < 0 ? n : EIO);
}
