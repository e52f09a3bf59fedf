# SPDX-License-Identifier: Apache-2.0
"""What nsenter/_host/libseccomp.py calls of libseccomp, which it opens when there is a policy.

setup.py names this file. cffi makes a Python module of it (ABI mode): neither its headers nor the
library have to be there to build, nor the library to run without a policy.
"""

from cffi import FFI

CDEF = """
typedef void *scmp_filter_ctx;
struct scmp_arg_cmp { unsigned int arg; int op; uint64_t datum_a; uint64_t datum_b; };
struct scmp_version { unsigned int major; unsigned int minor; unsigned int micro; };

const struct scmp_version *seccomp_version(void);
uint32_t seccomp_arch_native(void);
uint32_t seccomp_arch_resolve_name(const char *arch_name);
int seccomp_syscall_resolve_name(const char *name);
char *seccomp_syscall_resolve_num_arch(uint32_t arch_token, int num);
void free(void *memory);
int seccomp_syscall_resolve_name_arch(uint32_t arch_token, const char *name);
scmp_filter_ctx seccomp_init(uint32_t def_action);
void seccomp_release(scmp_filter_ctx ctx);
int seccomp_arch_add(scmp_filter_ctx ctx, uint32_t arch_token);
int seccomp_attr_set(scmp_filter_ctx ctx, int attr, uint32_t value);
int seccomp_rule_add_array(scmp_filter_ctx ctx, uint32_t action, int syscall,
                           unsigned int arg_cnt, const struct scmp_arg_cmp *arg_array);
int seccomp_export_bpf(const scmp_filter_ctx ctx, int fd);
"""

ffi = FFI()
ffi.cdef(CDEF)
ffi.set_source("nsenter._libseccomp", None)
