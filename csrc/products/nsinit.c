/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nsinit PROGRAM [ARGS…]: go through the stages, then execute PROGRAM in stage 2.
 *
 * Static and without libc. Our launcher runs it from a sealed memfd (CVE-2019-5736: what a
 * container could get at through /proc/self/exe cannot be written); any parent that speaks
 * runc's protocol may start it in the place of `runc init`.
 */
#include <unistd.h>

#include "base/exec.h"
#include "inside/confinement.h"
#include "inside/seccomp.h"
#include "stages/image_stages.h"
#include "stages/mount_sources.h"
#include "stages/nsexec.h"
#include "stages/pid1.h"
#include "products/detach.h"

static const char usage[] =
	"usage: nsinit PROGRAM [ARGS...]\n"
	"Started by nsenter.launch, or in the place of `runc init` by a parent that speaks "
	"its\n"
	"protocol: _LIBCONTAINER_INITPIPE names the descriptor of a socket on which the\n"
	"bootstrap message comes.\n";

/* Remove our launcher's variables: the payload gets its own environment and nothing else. */
static void drop_variables(char **envp)
{
	char **kept = envp;

	for (; *envp; envp++)
		if (!nsexec_reads(*envp))
			*kept++ = *envp;
	*kept = NULL;
}

/* If another parent started nsinit, its pipes are for the payload, which goes on with them. */
static void keep_pipes(const struct nsexec *ns)
{
	sys_inherit(ns->init_fd);
	if (ns->report.log_fd >= 0)
		sys_inherit(ns->report.log_fd);
	mount_sources_pass_on(ns);
}

/* Wait for a byte from the launcher. The end of the pipe says that the launcher is gone, or no
 * longer wants the program to be executed. */
static void wait_at_gate(int fd)
{
	uint8_t go;

	if (fd >= 0 && sys_read(fd, &go, 1) != 1)
		sys_exit(1);
}

/* Returns only on failure. */
static int execute(const struct nsexec *ns, const char *name, char *const *argv, char *const *envp,
		   struct err *err)
{
	if (!ns->launched)
		keep_pipes(ns);
	else if (confinement_keep_fds(ns->launch.keep_fds, CLOSE_RANGE_CLOEXEC, err) < 0)
		return -1;
	report_trace(&ns->report, "exec");
	if (report_ready(&ns->report, err) < 0)
		return -1;
	nsexec_restore_signals(ns);
	wait_at_gate(ns->launch.gate_fd);
	if (seccomp_install(&ns->launch, err) < 0)
		return -1;
	return err_set(err, "execve", name, exec_program(name, argv, envp));
}

int nsinit_main(int argc, char **argv, char **envp);

int nsinit_main(int argc, char **argv, char **envp)
{
	static struct nsexec ns;
	const char *image = image_stages_path(envp);
	struct err err;

	pid1_resume(envp);
	if (argc > 0 && detach_is_asked(envp))
		detach(argv);
	if (argc < 2 && !image) {
		sys_write(STDERR_FILENO, usage, sizeof(usage) - 1);
		return 2;
	}
	if (!nsexec_from_environment(&ns, envp, &err)) {
		sys_write(STDERR_FILENO, usage, sizeof(usage) - 1);
		nsexec_fail(&ns, &err);
	}
	if (ns.launched && image)
		image_stages_run(&ns, image, argc, argv, envp);
	nsexec(&ns);
	if (ns.launched)
		drop_variables(envp);
	if (nsexec_arrive(&ns, &err) == 0 && pid1_split(&ns, &err) == 0 &&
	    confinement_begin(&ns.launch, &err) == 0)
		/* argv[0] of our launcher is the program, which may be told another name. */
		execute(&ns, ns.launched ? argv[0] : argv[1], argv + 1, envp, &err);
	nsexec_fail(&ns, &err);
}
