/* SPDX-License-Identifier: Apache-2.0 */
/* How a process ends of which no memory image can be made. */
#ifndef NSX_REFUSAL_H
#define NSX_REFUSAL_H

/* Write to standard error why there is no image, and exit. `subject` is what the reason is about,
 * or "". The launcher, nsenter/_interpreter/image_maker.py, shows the text to the user. */
_Noreturn void refuse_image(const char *reason, const char *subject);

#endif
