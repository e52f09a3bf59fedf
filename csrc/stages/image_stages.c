/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image, and the files that it was made of, are files of the host. So they are mapped before
 * the first stage. None of that memory is written to until stage 2, so the stages copy as little as
 * those of nsinit do. The interpreter is resumed in stage 2, and no file is opened for it there.
 *
 * If libraries have to be loaded that the image does not have, the interpreter is resumed in stage
 * 0 instead: to load them requires libc, and files of the host.
 */
#include "stages/image_stages.h"

#include <limits.h>
#include <sys/stat.h>

#include "base/exec.h"
#include "inside/confinement.h"
#include "interpreter/restore.h"
#include "stages/payload.h"

#define IMAGE	"_NSENTER_IMAGE"
#define ARCHIVE "_NSENTER_ARCHIVE"
#define LOADS	"_NSENTER_LOADS" /* the image does not have all extensions of the archive */
#define BUNDLE_HINT                                                                                \
	0x100000000UL /* where no image has memory, as it may where the kernel chooses */

const char *image_stages_path(char *const *envp)
{
	return environment_get(envp, IMAGE);
}

/* For the functions of the handover, which are called when the interpreter runs. */
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

static int map_archive(char *const *envp, struct image_handover *handover, struct err *err)
{
	const char *value = environment_get(envp, ARCHIVE);
	struct stat st = { 0 };
	uint64_t fd;
	long ret;

	if (!value) /* the image has every module */
		return 0;
	if (!parse_decimal(span_of(value), INT_MAX, &fd))
		return err_set(err, "find a descriptor in", ARCHIVE, EINVAL);
	ret = SYS2(SYS_fstat, fd, &st);
	if (ret < 0)
		return err_set(err, "fstat", "the module archive", ret);
	ret = SYS6(SYS_mmap, BUNDLE_HINT, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (sys_is_error(ret))
		return err_set(err, "mmap", "the module archive", ret);
	sys_close((int)fd);
	handover->archive = (const void *)ret;
	handover->archive_size = (size_t)st.st_size;
	return 0;
}

/* Overwrite the environment, so that nobody can read what the launcher said from
 * /proc/PID/environ. */
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
	if (restore_map(path, &process, &image, &err) < 0 || map_archive(envp, &handover, &err) < 0)
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
