# SPDX-License-Identifier: Apache-2.0
"""The cffi binding of this floor: what `nsenter` may call, and how it is compiled.

setup.py names this file; importing `nsenter._nsexec` needs nothing of it.
"""

import sys

from cffi import FFI

sys.path.insert(0, "csrc")
import sources

CDEF = """
struct span { const char *data; size_t len; };

struct wire_message { uint16_t type; uint16_t first_attr; uint16_t attr_count; ...; };
static const struct wire_message *bootstrap_wire(void);
static const struct wire_message *launch_wire(void);

struct wire_error { uint16_t attr; uint32_t offset; const char *reason; };
struct wire_attr {
    uint16_t type; bool present; uint32_t offset; uint32_t number; struct span text;
};
struct wire_spec { const char *name; int kind; ...; };

const struct wire_spec *wire_spec(const struct wire_message *message, uint16_t type);
bool wire_header(const struct wire_message *message, const uint8_t *header, uint32_t *size,
                 struct wire_error *err);
bool wire_next(const struct wire_message *message, const uint8_t *data, uint32_t size,
               uint32_t *offset, struct wire_attr *attr, struct wire_error *err);
bool wire_parse(const struct wire_message *message, const uint8_t *data, size_t size,
                struct wire_attr *attrs, struct wire_error *err);
uint32_t wire_encode(const struct wire_message *message, const struct wire_attr *attrs,
                     size_t count, uint8_t *out, size_t cap, struct wire_error *err);

struct namespace_join { uint32_t flag; struct span path; ...; };
struct namespace_list { size_t count; struct namespace_join items[8]; };
const char *namespace_name(uint32_t flag);

struct bootstrap {
    uint32_t cloneflags; bool setgroup; bool says_setgroup; bool rootless_euid;
    struct namespace_list join;
    struct span uidmap; struct span gidmap; struct span uidmap_path; struct span gidmap_path;
    struct span oom_score_adj; struct span timens_offsets; ...;
};
bool bootstrap_parse(const uint8_t *data, size_t size, struct bootstrap *out,
                     struct wire_error *err);
#define BOOTSTRAP_ROOM ...
uint32_t bootstrap_encode(uint32_t cloneflags, int setgroup, bool rootless_euid,
                          const char *texts, size_t len, uint8_t *out, size_t cap,
                          struct wire_error *err);

struct err { const char *operation; int errnum; char subject[...]; };
struct spawn {
    int exe_fd; const char *exe_path; char *const *argv; char *const *envp; int stdio[3];
    const int *keep_fds; size_t keep_count; uint64_t keep_ignored;
    bool child_failed; int child_signal; struct err err;
    ...;
};
void spawn_split(char *strings, size_t count, char **array);
int spawn_process(struct spawn *spawn, int *pidfd);
#define DIRECT_DECLINED ...
int direct_launch(struct spawn *spawn, struct span bootstrap, struct span launch, int *pidfd);

static const int BOOTSTRAP_ATTR_COUNT;

int prebooted_own_memory(int mem_fd, unsigned long start, unsigned long size, int protection);
void prebooted_reset(void);
void prebooted_stages(int init_fd, int status_fd);
void prebooted_confine(void);
void prebooted_filter(void);
long prebooted_sibling(int *pidfd);

struct execution {
    const char *path; char *const *argv; char *const *envp;
    struct span rlimits; struct span filter; uint32_t filter_flags;
    int agent_fd; struct span agent_message; const char *agent_path;
    int channel_fd; struct span errno_texts;
};
void execution_run(const struct execution *execution);

long sys_call(long nr, long a, long b, long c, long d, long e, long f);
"""

# Those that nsenter/_host/syscalls.py makes, or that a filter is asked about. The numbers differ
# between architectures.
CALLS = (
    "mount umount2 pivot_root open_tree move_mount fsopen fsconfig fsmount mount_setattr openat2 "
    "unshare setns sethostname setdomainname prctl capget capset keyctl personality ioprio_set "
    "sched_setattr prlimit64 seccomp close_range ioctl fstatfs sendmsg recvmsg bpf socket connect "
    "rt_sigaction socketpair recvfrom ppoll flock fcntl memfd_create "
    "sched_setaffinity set_mempolicy waitid close execve"
).split()

INCLUDES = """
#include "message/bootstrap.h"
#include "products/direct.h"
#include "inside/exec_steps.h"
#include "stages/prebooted.h"
#include "message/launch.h"
#include "base/sys.h"

static const struct wire_message *bootstrap_wire(void) { return &bootstrap_message; }
static const struct wire_message *launch_wire(void) { return &launch_message; }
"""

ffi = FFI()
ffi.cdef(CDEF + "".join(f"#define SYS_{name} ...\n" for name in CALLS))
ffi.set_source(
    "nsenter._nsexec",
    INCLUDES,
    sources=sources.of("binding"),
    include_dirs=["csrc"],
    define_macros=[("_GNU_SOURCE", None)],
    extra_compile_args=["-std=gnu11", "-O2", "-fvisibility=hidden"],
)
