// SPDX-License-Identifier: Apache-2.0
/* Who may open the device, and who may not read through a process that did. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define VICTIM_BYTES (16 * HUGE_PAGE)
#define VICTIM_FD 100

// What a fork has of its parent.
struct inheritance {
	int fd;
	volatile uint8_t *at;
	uint64_t start;
};

static void without_capability(void *arg)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];

	(void)arg;
	if (syscall(SYS_capget, &header, caps))
		err(1, "capget");
	caps[0].effective &= ~(1U << CAP_SYS_RAWIO);
	if (syscall(SYS_capset, &header, caps))
		err(1, "capset");
	refused(open(DEVICE, O_RDONLY), EPERM, "open() without CAP_SYS_RAWIO");
	caps[0].effective = 1U << CAP_SYS_RAWIO;
	if (syscall(SYS_capset, &header, caps))
		err(1, "capset");
	close(device_open());
	check(true, "with it, and no other, open() succeeds");
}

static void as_nobody(void *arg)
{
	(void)arg;
	if (setgid(65534) || setuid(65534))
		err(1, "setuid");
	refused(open(DEVICE, O_RDONLY), EACCES, "open() by another user");
}

// Whatever an administrator makes of the node, it takes the capability, and not that of a namespace of one's own.
static void as_nobody_who_may(void *arg)
{
	(void)arg;
	if (setgid(65534) || setuid(65534))
		err(1, "setuid");
	refused(open(DEVICE, O_RDONLY), EPERM,
		"open() by another user who has the right to the node");
	if (unshare(CLONE_NEWUSER))
		skip("namespaces of users: %s", strerrorname_np(errno));
	else
		refused(open(DEVICE, O_RDONLY), EPERM, "open() by root of a namespace");
}

static void second_opener(void *arg)
{
	(void)arg;
	refused(open(DEVICE, O_RDONLY), EBUSY, "open() by a second process");
}

static void fork_gets_nothing(void *arg)
{
	const struct inheritance *from = arg;
	struct gpusentinel_info info;
	struct gpusentinel_map map = {};

	check(signal_of_read(from->at) == SIGSEGV, "after fork, the mapping is not there: SIGSEGV");
	refused(ioctl(from->fd, GPUSENTINEL_IOC_INFO, &info), EPERM, "after fork, ioctl()");
	refused(ioctl(from->fd, GPUSENTINEL_IOC_MAP, &map), EPERM,
		"after fork, ioctl() for the map");
	refused((long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, from->fd, from->start), EPERM,
		"after fork, mmap()");
	second_opener(NULL);
}

static void opener_executes(void *arg)
{
	char number[16];
	int fd = device_open();

	(void)arg;
	(void)range_map(fd, 0x100000, PAGE);
	snprintf(number, sizeof(number), "%d", fd);
	execl("/proc/self/exe", "check", "inherited", number, NULL);
	err(1, "exec");
}

static void child_executes(void *arg)
{
	const struct inheritance *from = arg;
	char number[16];

	snprintf(number, sizeof(number), "%d", from->fd);
	execl("/proc/self/exe", "check", "inherited", number, NULL);
	err(1, "exec");
}

// An opener to be looked into. It never ends by itself.
static pid_t victim_start(struct inheritance *victim, uint64_t *secret)
{
	int ready[2];
	pid_t pid;

	if (pipe(ready) || (pid = fork()) < 0)
		err(1, "a process");
	if (!pid) {
		struct rlimit no_limit = { RLIM_INFINITY, RLIM_INFINITY };

		setrlimit(RLIMIT_CORE, &no_limit);
		victim->fd = dup2(device_open(), VICTIM_FD);
		victim->at = range_map(victim->fd, victim->start, VICTIM_BYTES);
		if (signal_of_read(victim->at) ||
		    write(ready[1], &victim->at, sizeof(victim->at)) < 0)
			_exit(1);
		*secret = 0x5ec7e75ec7e7;
		for (;;)
			pause();
	}
	close(ready[1]);
	if (read(ready[0], &victim->at, sizeof(victim->at)) != sizeof(victim->at))
		errx(1, "the process to look into has ended");
	close(ready[0]);
	return pid;
}

struct look {
	pid_t pid;
	const volatile void *at;
	uint64_t *ordinary;
	uint64_t start;
};

static long vm_read(pid_t pid, const volatile void *at)
{
	uint64_t word;
	struct iovec local = { &word, 8 }, remote = { (void *)at, 8 };

	return process_vm_readv(pid, &local, 1, &remote, 1, 0);
}

static void look_as_nobody(void *arg)
{
	const struct look *look = arg;
	char path[64];

	if (setgid(65534) || setuid(65534))
		err(1, "setuid");
	refused(ptrace(PTRACE_ATTACH, look->pid, 0, 0), EPERM,
		"ptrace() of the opener by another user");
	refused(vm_read(look->pid, look->at), EPERM, "process_vm_readv() by another user");
	snprintf(path, sizeof(path), "/proc/%d/mem", look->pid);
	refused(open(path, O_RDONLY), EACCES, "/proc/PID/mem by another user");
}

static void look_as_root(const struct look *look)
{
	uint64_t word = 0;
	char path[64];
	int status, mem;

	refused(vm_read(look->pid, look->at), EFAULT, "process_vm_readv() of the mapping by root");
	check(vm_read(look->pid, look->ordinary) == 8, "but of the opener's other memory it reads");
	snprintf(path, sizeof(path), "/proc/%d/mem", look->pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	refused(pread(mem, &word, 8, (off_t)look->at), EIO, "/proc/PID/mem of the mapping by root");
	refused(pwrite(mem, &word, 8, (off_t)look->at), EIO, "and to write it");
	check(pread(mem, &word, 8, (off_t)look->ordinary) == 8 && word,
	      "but of the opener's other memory it reads");
	close(mem);
	if (ptrace(PTRACE_ATTACH, look->pid, 0, 0) || waitpid(look->pid, &status, 0) != look->pid)
		err(1, "ptrace");
	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, look->pid, look->at, 0);
	check(errno == EIO || errno == EFAULT, "PTRACE_PEEKDATA of the mapping by root: %s",
	      errno ? strerrorname_np(errno) : "allowed");
	refused(ptrace(PTRACE_POKEDATA, look->pid, look->at, 0), EIO, "PTRACE_POKEDATA");
	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, look->pid, look->ordinary, 0);
	check(!errno && word == *look->ordinary, "but of the opener's other memory it reads");
	ptrace(PTRACE_DETACH, look->pid, 0, 0);
}

// The opener's file itself, in the hands of root.
static void take_file(const struct look *look, int number)
{
	int process = syscall(SYS_pidfd_open, look->pid, 0);
	int fd = syscall(SYS_pidfd_getfd, process, number, 0);
	struct gpusentinel_info info;

	if (fd < 0) {
		skip("pidfd_getfd(): %s", strerrorname_np(errno));
	} else {
		refused(ioctl(fd, GPUSENTINEL_IOC_INFO, &info), EPERM,
			"ioctl() of the opener's file in another process");
		refused((long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, look->start), EPERM,
			"mmap() of it");
		close(fd);
	}
	close(process);
}

// The kernel's own words for the mapping; what else of /proc goes through it is to survive that.
static void read_proc(pid_t pid)
{
	static const char *const others[] = { "smaps_rollup", "numa_maps", "maps" };
	static const char *const want[] = { " io", " pf", " de", " dc", " dd" };
	char path[64], *text, *flags;
	bool good;

	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, others[i]);
		if (!access(path, F_OK))
			free(file_text(path));
	}
	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	text = file_text(path);
	flags = strstr(text, DEVICE);
	flags = flags ? strstr(flags, "VmFlags:") : NULL;
	if (flags)
		flags[strcspn(flags, "\n")] = 0;
	good = flags && !strstr(flags, " mw") && !strstr(flags, " me");
	for (size_t i = 0; good && i < 5; i++)
		good = strstr(flags, want[i]);
	check(good,
	      "/proc/PID/smaps: I/O, frame numbers, no growth, no heirs, no dump; not to be written or run: %s",
	      flags ? flags : "not there");
	free(text);
}

// A core is without the mapping, even if all is to be in it.
static void dump_core(const struct look *look)
{
	char path[64];
	struct stat core = {};
	int status, fd;

	fd = open("/proc/sys/kernel/core_pattern", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "/tmp/core\n", 10) != 10)
		err(1, "core_pattern");
	close(fd);
	snprintf(path, sizeof(path), "/proc/%d/coredump_filter", look->pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0x7f", 4) != 4)
		err(1, "%s", path);
	close(fd);
	kill(look->pid, SIGABRT);
	waitpid(look->pid, &status, 0);
	check(WIFSIGNALED(status) && WCOREDUMP(status) && !stat("/tmp/core", &core) &&
		      core.st_size < (off_t)VICTIM_BYTES / 2,
	      "the opener's core has %lld of the %lu KiB that it has mapped",
	      (long long)core.st_size >> 10, VICTIM_BYTES >> 10);
	unlink("/tmp/core");
}

static void others_look(uint64_t start)
{
	uint64_t *secret =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct inheritance victim = { .start = start };
	struct look look = { .pid = victim_start(&victim, secret),
			     .ordinary = secret,
			     .start = start };

	look.at = victim.at;
	while (!*(volatile uint64_t *)secret)
		usleep(1000);
	in_child(look_as_nobody, &look);
	look_as_root(&look);
	take_file(&look, VICTIM_FD);
	read_proc(look.pid);
	dump_core(&look);
}

void check_access(void)
{
	struct inheritance mine;
	struct ram *ram;

	in_child(without_capability, NULL);
	in_child(as_nobody, NULL);
	chmod(DEVICE, 0666);
	in_child(as_nobody_who_may, NULL);
	chmod(DEVICE, 0600);
	in_child(opener_executes, NULL);

	mine.fd = device_open();
	ram = ram_list(mine.fd);
	mine.start = (ram->ranges[ram->count - 1].start + HUGE_PAGE - 1) & -HUGE_PAGE;
	mine.at = range_map(mine.fd, mine.start, HUGE_PAGE);
	check(!signal_of_read(mine.at), "the opener reads");
	refused(open(DEVICE, O_RDONLY), EBUSY, "open() once more by the opener itself");
	in_child(second_opener, NULL);
	in_child(fork_gets_nothing, &mine);
	in_child(child_executes, &mine);
	check(!signal_of_read(mine.at), "the opener still reads");
	ram_free(ram);

	close(mine.fd);
	check(!signal_of_read(mine.at), "a mapping outlives close()");
	refused(open(DEVICE, O_RDONLY), EBUSY, "and is an opener");
	munmap((void *)mine.at, HUGE_PAGE);
	close(device_open());
	check(true, "after munmap() the device can be opened");
	others_look(mine.start);
}

// The last of all: a guest stays locked down.
void check_lockdown(void)
{
	static const char *const levels[] = { "integrity", "confidentiality" };
	const char *path = "/sys/kernel/security/lockdown";

	if (access(path, F_OK) &&
	    mount("securityfs", "/sys/kernel/security", "securityfs", 0, NULL))
		err(1, "/sys/kernel/security");
	if (access(path, F_OK)) {
		skip("lockdown: %s", path);
		return;
	}
	close(device_open());
	for (size_t i = 0; i < 2; i++) {
		int fd = open(path, O_WRONLY | O_CLOEXEC);

		if (fd < 0 || write(fd, levels[i], strlen(levels[i])) < 0)
			err(1, "%s", path);
		close(fd);
		refused(open(DEVICE, O_RDONLY), EPERM, "open() under lockdown=%s", levels[i]);
	}
}
