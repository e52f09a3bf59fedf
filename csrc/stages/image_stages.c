/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that takes the host's files, the image and what it was made of, is mapped before the first
 * stage. Nothing of it has been written to by then, so that the stages cost what they cost nsinit.
 * The interpreter is resumed in stage 2, where no file is opened for it any more.
 *
 * Only if libraries have to be loaded besides, it is resumed in stage 0: loading takes libc, and
 * the host's files.
 */
#include "stages/image_stages.h"

#include <limits.h>
#include <sys/stat.h>

#include "base/exec.h"
#include "inside/confinement.h"
#include "interpreter/restore.h"
#include "stages/payload.h"

#define IMAGE	    "_NSENTER_IMAGE"
#define BUNDLE	    "_NSENTER_BUNDLE"
#define LOADS	    "_NSENTER_LOADS" /* the bundle has extensions that the image has not */
#define BUNDLE_HINT 0x100000000UL    /* an image may have memory wherever the kernel would put it */

const char *image_stages_path(char *const *envp)
{
	return environment_get(envp, IMAGE);
}

/* What the handover's functions work with: they are called when the interpreter runs. */
static struct nsexec *stage;

static void confine(void)
{
	payload_confine(stage);
}

static void filter(void)
{
	payload_filter(stage);
}

static void fail(const struct err *err)
{
	nsexec_fail(stage, err);
}

static int map_bundle(char *const *envp, struct image_handover *handover, struct err *err)
{
	const char *value = environment_get(envp, BUNDLE);
	struct stat st = { 0 };
	uint64_t fd;
	long ret;

	if (!value) /* the image has every module */
		return 0;
	if (!parse_decimal(span_of(value), INT_MAX, &fd))
		return err_set(err, "find a descriptor in", BUNDLE, EINVAL);
	ret = SYS2(SYS_fstat, fd, &st);
	if (ret < 0)
		return err_set(err, "fstat", "the bundle", ret);
	ret = SYS6(SYS_mmap, BUNDLE_HINT, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (ret < 0 && ret > -4096)
		return err_set(err, "mmap", "the bundle", ret);
	sys_close((int)fd);
	handover->bundle = (const void *)ret;
	handover->bundle_size = (size_t)st.st_size;
	return 0;
}

/* Nothing of what the launcher has told is left to be read from /proc/PID/environ. */
static void wipe(char **envp)
{
	for (char **variable = envp; *variable; variable++)
		for (char *c = *variable; *c; c++)
			*c = '\0';
	*envp = NULL;
}

static struct image_process process;
static struct image_handover handover = { .process = &process, .fail = fail };

/* Returns in the namespaces. */
static void go_through_stages(void)
{
	wipe(process.envp);
	nsexec(stage);
	payload_arrive(stage);
	if (confinement_is_asked(&stage->launch)) {
		handover.confine = confine;
		handover.filter = filter;
	}
	report_trace(&stage->report, "boot");
	nsexec_restore_signals(stage);
}

_Noreturn void image_stages_run(struct nsexec *ns, const char *path, int argc, char **argv,
				char **envp)
{
	const bool loads = environment_get(envp, LOADS) != NULL;
	struct image image;
	struct err err;

	stage = ns;
	process = (struct image_process){ argc, argv, envp, image_find_auxv(envp) };
	ns->report.stage = "image";
	if (restore_map(path, &process, &image, &err) < 0 || map_bundle(envp, &handover, &err) < 0)
		nsexec_fail(ns, &err);
	handover.channel_fd = ns->init_fd;
	handover.status_fd = ns->report.status_fd;
	if (loads) {
		ns->thread_id = (int *)image.header->tid_address; /* the stages have libc then */
		handover.stages = go_through_stages;
	} else {
		go_through_stages();
	}
	restore_enter(&image, &handover);
}
