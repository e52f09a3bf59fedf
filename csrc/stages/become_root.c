/* SPDX-License-Identifier: Apache-2.0 */
#include "stages/become_root.h"

#include "message/idmap.h"

bool has_root_id(const struct bootstrap *boot, struct span map, bool launched)
{
	if (boot->cloneflags & CLONE_NEWUSER)
		return idmap_maps(map, 0);
	if (namespaces_flags(&boot->join) & CLONE_NEWUSER)
		return true;
	return !launched || SYS0(SYS_geteuid) == 0;
}

static int become_root(const struct bootstrap *boot, bool launched, struct err *err)
{
	long ret;

	if (has_root_id(boot, boot->uidmap, launched) && (ret = SYS3(SYS_setresuid, 0, 0, 0)) < 0)
		return err_set(err, "setresuid", "0", ret);
	if (has_root_id(boot, boot->gidmap, launched) && (ret = SYS3(SYS_setresgid, 0, 0, 0)) < 0)
		return err_set(err, "setresgid", "0", ret);
	/* The host's groups have no names in a joined user namespace, but the kernel would still
	 * let the process use the files that they may. If setgroups(2) is denied there, an ordinary
	 * user has made the namespace, and the groups are that user's own. */
	if (launched && (namespaces_flags(&boot->join) & CLONE_NEWUSER) &&
	    (ret = SYS2(SYS_setgroups, 0, 0)) < 0 && ret != -EPERM)
		return err_set(err, "setgroups", "none", ret);
	if (!boot->rootless_euid && boot->setgroup && (ret = SYS2(SYS_setgroups, 0, 0)) < 0)
		return err_set(err, "setgroups", "none", ret);
	return 0;
}

int lead_session(bool keep_session, struct err *err)
{
	long ret = keep_session ? 0 : SYS0(SYS_setsid);

	return ret < 0 ? err_set(err, "setsid", "", ret) : 0;
}

int gain_root(const struct bootstrap *boot, bool launched, struct err *err)
{
	if (become_root(boot, launched, err) < 0)
		return -1;
	/* This comes last: the cgroup that the process is in becomes the root of the namespace, and
	 * the caller has put it there by now. */
	return namespaces_unshare(boot->cloneflags & CLONE_NEWCGROUP, err);
}
