// SPDX-License-Identifier: Apache-2.0
// What the first process sees mounted, as /proc/1/mountinfo shows it.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#define MOUNTS_MAX 4096
#define OPTIONS_LEN 128
#define FSTYPE_LEN 64

static unsigned int append(char *text, unsigned int len, unsigned int size, const char *s)
{
	for (unsigned int i = 0; s[i] && len + 1 < size; i++)
		text[len++] = s[i];
	text[len] = 0;
	return len;
}

// fs/proc_namespace.c, show_mnt_opts()
static void mount_options(char *text, int flags)
{
	unsigned int len = append(text, 0, OPTIONS_LEN, flags & MNT_READONLY ? "ro" : "rw");

	if (flags & MNT_NOSUID)
		len = append(text, len, OPTIONS_LEN, ",nosuid");
	if (flags & MNT_NODEV)
		len = append(text, len, OPTIONS_LEN, ",nodev");
	if (flags & MNT_NOEXEC)
		len = append(text, len, OPTIONS_LEN, ",noexec");
	if (flags & MNT_NOATIME)
		len = append(text, len, OPTIONS_LEN, ",noatime");
	if (flags & MNT_NODIRATIME)
		len = append(text, len, OPTIONS_LEN, ",nodiratime");
	if (flags & MNT_RELATIME)
		len = append(text, len, OPTIONS_LEN, ",relatime");
	if (flags & MNT_NOSYMFOLLOW)
		append(text, len, OPTIONS_LEN, ",nosymfollow");
}

static void file_system(char *text, const struct super_block___mount *sb)
{
	unsigned int len = strscpy(text, sb->s_type->name, FSTYPE_LEN - 1);

	if (!sb->s_subtype)
		return;
	text[len++] = '.';
	strscpy(text + len, sb->s_subtype, FSTYPE_LEN - len);
}

static void show_mount(const struct mount *m, const struct mount *root)
{
	const struct super_block___mount *sb = (const struct super_block___mount *)m->mnt.mnt_sb;
	struct prepend_buffer point, inside;
	char options[OPTIONS_LEN], fstype[FSTYPE_LEN];

	prepend_init(&point);
	if (!prepend_path(&point, m->mnt.mnt_root, m, root))
		return;
	prepend_init(&inside);
	prepend_dentries(&inside, m->mnt.mnt_root, NULL);
	mount_options(options, m->mnt.mnt_flags);
	file_system(fstype, sb);
	row("id=%d parent=%d major=%u minor=%u root=%s mountpoint=%s options=%s fstype=%s source=%s super=%s",
	    m->mnt_id, m->mnt_parent->mnt_id, MAJOR(sb->s_dev), MINOR(sb->s_dev),
	    prepend_end(&inside), prepend_end(&point), options, fstype,
	    m->mnt_devname ? m->mnt_devname : "none", sb->s_flags & SB_RDONLY ? "ro" : "rw");
}

DETECTOR(mounts, .description = "what is mounted where", .period_ms = 10000)
{
	const struct task_struct___fs *init =
		(const struct task_struct___fs *)next_task(&init_task);
	struct nsproxy *nsproxy = init->nsproxy;
	struct mnt_namespace *ns = nsproxy ? nsproxy->mnt_ns : NULL;
	struct vfsmount *root = init->fs ? init->fs->root.mnt : NULL;
	unsigned int count = 0;

	if (!ns || !root)
		return;
	for (struct mount *m = ns->root; m && count < MOUNTS_MAX;
	     m = next_mnt(m, ns->root), count++)
		show_mount(m, real_mount(root));
}
