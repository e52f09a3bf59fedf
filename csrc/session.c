/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <asm/ioctls.h>

#include "sys.h"

int session_begin(const struct launch *launch, struct err *err)
{
	long ret;

	if (!launch->terminal)
		return 0;
	ret = SYS3(SYS_ioctl, 0, TIOCSCTTY, 0);
	if (ret < 0)
		return err_set(err, "ioctl TIOCSCTTY", "the terminal", ret);
	/* So that its user can open it by its name; a terminal that may not be given away stays. */
	if (launch->uid >= 0)
		SYS3(SYS_fchown, 0, launch->uid, -1);
	return 0;
}
