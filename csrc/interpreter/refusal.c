/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter/refusal.h"

#include <stdio.h>
#include <unistd.h>

_Noreturn void refuse_image(const char *reason, const char *subject)
{
	dprintf(STDERR_FILENO, "no image can be made: %s%s%s\n", reason, *subject ? ": " : "",
		subject);
	_exit(1);
}
