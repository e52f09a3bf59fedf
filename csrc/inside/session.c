/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/session.h"

#include <asm/ioctls.h>

#include "base/sys.h"
#include "base/text.h"

/* Enter a process group, or lead a new one if it is 0, as subprocess.Popen does. The leader of a
 * session leads its own group already. */
static int join_group(int group, struct err *err)
{
	char buf[32];
	struct text t = TEXT_IN(buf);
	long ret;

	if (group < 0 || (group == 0 && SYS1(SYS_getpgid, 0) == sys_getpid()))
		return 0;
	ret = SYS2(SYS_setpgid, 0, group);
	text_add_number(&t, group);
	return ret < 0 ? err_set(err, "setpgid", text_end(&t), ret) : 0;
}

int session_begin(const struct launch *launch, struct err *err)
{
	long ret;

	if (join_group(launch->process_group, err) < 0)
		return -1;
	if (!launch->terminal)
		return 0;
	ret = SYS3(SYS_ioctl, 0, TIOCSCTTY, 0);
	if (ret < 0)
		return err_set(err, "ioctl TIOCSCTTY", "the terminal", ret);
	/* The payload's user must be able to open it by its name. If this process may not give it
	 * away, it stays as it is. */
	if (launch->uid >= 0)
		SYS3(SYS_fchown, 0, launch->uid, -1);
	return 0;
}
