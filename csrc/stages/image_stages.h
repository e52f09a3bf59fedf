/* SPDX-License-Identifier: Apache-2.0 */
/* The stages with an interpreter from a memory image behind them, instead of a program. */
#ifndef NSX_IMAGE_STAGES_H
#define NSX_IMAGE_STAGES_H

#include "stages/nsexec.h"

/* The path of the image that the launcher wants to be used, or NULL. */
const char *image_stages_path(char *const *envp);

/*
 * Check and map the image, go through the stages, and become the interpreter in it. If the image
 * cannot be used, that is reported with the stage "image", before anything is read from the init
 * pipe.
 */
_Noreturn void image_stages_run(struct nsexec *ns, const char *path, int argc, char **argv,
				char **envp);

#endif
