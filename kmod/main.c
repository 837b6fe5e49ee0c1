// SPDX-License-Identifier: GPL-2.0
/* The device: who may open it, and what it answers. */
#include <linux/capability.h>
#include <linux/memory.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/poll.h>
#include <linux/sched/mm.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "kmod.h"

/* Ranges that the opener has mapped: one list, since there is one opener. */
struct held {
	struct list_head list;
	u64 start, end;
};

/* Bounds what an opener can make the kernel allocate: ranges of one list, and mappings. */
#define RANGES_MAX 65536
#define HELD_MAX 65536

/*
 * Guards what follows. Memory that is about to go offline is first told to memory_changes(), which waits for the lock: what is
 * looked at with the lock held, and "leaving" false, stays.
 */
static DEFINE_MUTEX(lock);
/* The opener; NULL if the device is closed. A process that it executes has another one. */
static struct mm_struct *opener;
static LIST_HEAD(held);
static unsigned int held_count;
/* Some memory is on its way offline. */
static bool leaving;
static u64 seen_generation;
static atomic64_t generation = ATOMIC64_INIT(1);
static DECLARE_WAIT_QUEUE_HEAD(changed);

static int device_open(struct inode *inode, struct file *file)
{
	int err;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	err = security_locked_down(LOCKDOWN_DEV_MEM);
	if (err)
		return err;
	if (file->f_mode & FMODE_WRITE)
		return -EACCES;
	if (!current->mm)
		return -EINVAL;
	mutex_lock(&lock);
	if (opener) {
		err = -EBUSY;
	} else {
		mmgrab(current->mm);
		opener = current->mm;
		seen_generation = atomic64_read(&generation);
	}
	mutex_unlock(&lock);
	return err;
}

static int device_release(struct inode *inode, struct file *file)
{
	struct mm_struct *mm = opener;
	struct held *entry, *next;

	mutex_lock(&lock);
	list_for_each_entry_safe(entry, next, &held, list) {
		list_del(&entry->list);
		kfree(entry);
	}
	held_count = 0;
	opener = NULL;
	mutex_unlock(&lock);
	mmdrop(mm);
	return 0;
}

static bool is_opener(void)
{
	return current->mm && current->mm == READ_ONCE(opener);
}

/* Unless a mapping of before covers it. */
static bool is_covered(u64 start, u64 end)
{
	const struct held *entry;

	list_for_each_entry(entry, &held, list) {
		if (entry->start <= start && end <= entry->end)
			return true;
	}
	return false;
}

static int hold(u64 start, u64 size)
{
	struct held *entry = kmalloc(sizeof(*entry), GFP_KERNEL_ACCOUNT);
	bool covered;
	int err = 0;

	if (!entry)
		return -ENOMEM;
	entry->start = start;
	entry->end = start + size;
	mutex_lock(&lock);
	covered = is_covered(start, start + size);
	if (leaving)
		err = -EAGAIN;
	else if (!gs_ram_covers(start, size))
		err = -ENXIO;
	else if (!covered && held_count == HELD_MAX)
		err = -ENOSPC;
	if (!err && !covered) {
		list_add(&entry->list, &held);
		held_count++;
		entry = NULL;
	}
	mutex_unlock(&lock);
	kfree(entry);
	return err;
}

static int device_mmap(struct file *file, struct vm_area_struct *vma)
{
	u64 start = (u64)vma->vm_pgoff << PAGE_SHIFT, size = vma->vm_end - vma->vm_start;
	int err;

	if (!is_opener())
		return -EPERM;
	if (vma->vm_flags & (VM_WRITE | VM_EXEC))
		return -EPERM;
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_pgoff > (~0ULL >> PAGE_SHIFT))
		return -ENXIO;
	err = hold(start, size);
	if (err)
		return err;
#ifdef HAVE_VM_FLAGS_SET
	vm_flags_clear(vma, VM_MAYWRITE | VM_MAYEXEC);
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY);
#else
	vma->vm_flags &= ~(VM_MAYWRITE | VM_MAYEXEC);
	vma->vm_flags |= VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY;
#endif
	vma->vm_ops = &gs_ram_vm_ops;
	return 0;
}

static long ioctl_info(void __user *arg)
{
	struct gpusentinel_info info = {
		.abi = GPUSENTINEL_ABI,
		.page_table_levels = pgtable_l5_enabled() ? 5 : 4,
		.phys_base = phys_base,
	};
	char *text = kmalloc(VMCOREINFO_MAX + 1, GFP_KERNEL);
	phys_addr_t note;
	size_t size;
	u64 root;

	if (!text)
		return -ENOMEM;
	if (!gs_vmcoreinfo_read(&note, text, VMCOREINFO_MAX + 1, &size)) {
		root = gs_vmcoreinfo_number(text, "SYMBOL(swapper_pg_dir)");
		info.page_table_root = root ? root - __START_KERNEL_map + phys_base : 0;
		info.vmcoreinfo = note;
		info.vmcoreinfo_size = size;
	}
	kfree(text);
	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static long ioctl_map(void __user *arg)
{
	struct gpusentinel_range *ranges;
	struct gpusentinel_map map;
	int err;

	if (copy_from_user(&map, arg, sizeof(map)))
		return -EFAULT;
	map.capacity = min_t(u32, map.capacity, RANGES_MAX);
	ranges = kvcalloc(max(map.capacity, 1U), sizeof(*ranges), GFP_KERNEL);
	if (!ranges)
		return -ENOMEM;
	/* What is copied to user space may fault, which is no good with the lock held: it is taken under mmap's. */
	mutex_lock(&lock);
	map.generation = atomic64_read(&generation);
	err = leaving ? -EAGAIN : gs_ram_list(ranges, map.capacity, &map.count);
	if (!err)
		seen_generation = map.generation;
	mutex_unlock(&lock);
	if (!err && (copy_to_user(u64_to_user_ptr(map.ranges), ranges,
				  min(map.count, map.capacity) * sizeof(*ranges)) ||
		     copy_to_user(arg, &map, sizeof(map))))
		err = -EFAULT;
	kvfree(ranges);
	return err;
}

static long ioctl_vmcoreinfo(void __user *arg)
{
	struct gpusentinel_text to;
	phys_addr_t note;
	size_t size;
	char *text;
	long err;

	if (copy_from_user(&to, arg, sizeof(to)))
		return -EFAULT;
	text = kmalloc(VMCOREINFO_MAX + 1, GFP_KERNEL);
	if (!text)
		return -ENOMEM;
	err = gs_vmcoreinfo_read(&note, text, VMCOREINFO_MAX + 1, &size);
	if (!err) {
		to.size = size;
		if (copy_to_user(u64_to_user_ptr(to.text), text,
				 min_t(size_t, size, to.capacity)) ||
		    copy_to_user(arg, &to, sizeof(to)))
			err = -EFAULT;
	}
	kfree(text);
	return err;
}

static long device_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	if (!is_opener())
		return -EPERM;
	switch (command) {
	case GPUSENTINEL_IOC_INFO:
		return ioctl_info((void __user *)arg);
	case GPUSENTINEL_IOC_MAP:
		return ioctl_map((void __user *)arg);
	case GPUSENTINEL_IOC_VMCOREINFO:
		return ioctl_vmcoreinfo((void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static __poll_t device_poll(struct file *file, poll_table *table)
{
	poll_wait(file, &changed, table);
	return (u64)atomic64_read(&generation) != READ_ONCE(seen_generation) ? EPOLLPRI : 0;
}

static const struct file_operations device_ops = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.mmap = device_mmap,
	.unlocked_ioctl = device_ioctl,
	.poll = device_poll,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "gpusentinel",
	.fops = &device_ops,
	.mode = 0600,
};

static bool is_held(u64 start, u64 end)
{
	const struct held *entry;

	list_for_each_entry(entry, &held, list) {
		if (entry->start < end && start < entry->end)
			return true;
	}
	return false;
}

/* A GPU may read what was mapped long after the mapping was given up, as long as the device is open. */
static int memory_leaves(const struct memory_notify *memory)
{
	u64 start = PFN_PHYS(memory->start_pfn);
	bool refused;

	mutex_lock(&lock);
	refused = is_held(start, start + PFN_PHYS(memory->nr_pages));
	leaving = !refused;
	mutex_unlock(&lock);
	if (!refused)
		return NOTIFY_OK;
	pr_warn_ratelimited("gpusentinel: memory at %#llx is watched, so it stays online\n", start);
	return notifier_from_errno(-EBUSY);
}

/* One change at a time: the kernel has a lock for them. */
static int memory_changes(struct notifier_block *block, unsigned long action, void *arg)
{
	switch (action) {
	case MEM_GOING_OFFLINE:
		return memory_leaves(arg);
	case MEM_CANCEL_OFFLINE:
		mutex_lock(&lock);
		leaving = false;
		mutex_unlock(&lock);
		break;
	case MEM_ONLINE:
	case MEM_OFFLINE:
		mutex_lock(&lock);
		leaving = false;
		mutex_unlock(&lock);
		atomic64_inc(&generation);
		wake_up_interruptible(&changed);
		break;
	}
	return NOTIFY_OK;
}

static struct notifier_block memory_notifier = {
	.notifier_call = memory_changes,
};

static int __init gpusentinel_init(void)
{
	int err = register_memory_notifier(&memory_notifier);

	if (err)
		return err;
	err = misc_register(&device);
	if (err)
		unregister_memory_notifier(&memory_notifier);
	return err;
}

static void __exit gpusentinel_exit(void)
{
	misc_deregister(&device);
	unregister_memory_notifier(&memory_notifier);
}

module_init(gpusentinel_init);
module_exit(gpusentinel_exit);

MODULE_DESCRIPTION("This machine's memory, read-only, for GPUSentinel");
MODULE_AUTHOR("The GPUSentinel developers");
MODULE_VERSION("1");
MODULE_LICENSE("GPL");
