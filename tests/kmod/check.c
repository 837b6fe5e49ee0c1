// SPDX-License-Identifier: Apache-2.0
/*
 * check [--huge] [--rounds N --module FILE] TOPIC: what /dev/gpusentinel gives, refuses and leaves behind. It runs in a guest, as
 * root, with the module loaded.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

int rounds = 10;
const char *module_path = "/tmp/gpusentinel.ko";
bool huge_pages;

static int failures;

static void line(const char *word, const char *format, va_list list, const char *why)
{
	printf("%s: ", word);
	vprintf(format, list);
	printf("%s%s\n", *why ? ": " : "", why);
	fflush(stdout);
}

void check(bool good, const char *format, ...)
{
	va_list list;

	failures += !good;
	va_start(list, format);
	line(good ? "ok" : "FAIL", format, list, "");
	va_end(list);
}

void refused(long result, int error, const char *format, ...)
{
	bool good = result == -1 && errno == error;
	char why[128] = "";
	va_list list;

	if (!good)
		snprintf(why, sizeof(why), "%s, not %s",
			 result == -1 ? strerrorname_np(errno) : "allowed", strerrorname_np(error));
	failures += !good;
	va_start(list, format);
	line(good ? "ok" : "FAIL", format, list, good ? strerrorname_np(error) : why);
	va_end(list);
}

void skip(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	line("not here", format, list, "");
	va_end(list);
}

void in_child(void (*run)(void *), void *arg)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		failures = 0;
		run(arg);
		exit(failures > 0);
	}
	if (waitpid(pid, &status, 0) != pid)
		err(1, "waitpid");
	if (WIFSIGNALED(status))
		check(false, "a child ends by itself, not by signal %d", WTERMSIG(status));
	else
		failures += WEXITSTATUS(status) != 0;
}

int device_open(void)
{
	int fd = open(DEVICE, O_RDONLY);

	if (fd < 0)
		err(1, DEVICE);
	return fd;
}

char *device_vmcoreinfo(int fd)
{
	char *text = calloc(1, PAGE + 1);
	struct gpusentinel_text ask = { .text = (uintptr_t)text, .capacity = PAGE };

	if (!text || ioctl(fd, GPUSENTINEL_IOC_VMCOREINFO, &ask))
		err(1, "GPUSENTINEL_IOC_VMCOREINFO");
	return text;
}

struct ram *ram_list(int fd)
{
	struct ram *ram = calloc(1, sizeof(*ram));
	struct gpusentinel_map map = { .capacity = 4096 };

	if (!ram || !(ram->ranges = calloc(map.capacity, sizeof(*ram->ranges))) ||
	    !(ram->at = calloc(map.capacity, sizeof(*ram->at))))
		err(1, "ranges");
	map.ranges = (uintptr_t)ram->ranges;
	if (ioctl(fd, GPUSENTINEL_IOC_MAP, &map))
		err(1, "GPUSENTINEL_IOC_MAP");
	if (map.count > map.capacity)
		errx(1, "%u ranges of RAM", map.count);
	ram->count = map.count;
	ram->generation = map.generation;
	return ram;
}

void ram_map(int fd, struct ram *ram)
{
	for (unsigned int i = 0; i < ram->count; i++) {
		const struct gpusentinel_range *range = &ram->ranges[i];
		uintptr_t space =
			(uintptr_t)mmap(NULL, range->size + HUGE_PAGE, PROT_NONE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		uintptr_t at = space + ((range->start - space) & (HUGE_PAGE - 1));

		if (space == (uintptr_t)MAP_FAILED ||
		    mmap((void *)at, range->size, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
			 range->start) == MAP_FAILED)
			err(1, "mmap of %" PRIu64 " bytes of RAM at %#" PRIx64,
			    (uint64_t)range->size, (uint64_t)range->start);
		ram->at[i] = (volatile uint8_t *)at;
		// What is left of the space.
		if (at > space)
			munmap((void *)space, at - space);
		if (at + range->size < space + range->size + HUGE_PAGE)
			munmap((void *)(at + range->size), space + HUGE_PAGE - at);
	}
}

void ram_unmap(struct ram *ram)
{
	for (unsigned int i = 0; i < ram->count; i++) {
		if (ram->at[i] && munmap((void *)ram->at[i], ram->ranges[i].size))
			err(1, "munmap");
		ram->at[i] = NULL;
	}
}

void ram_free(struct ram *ram)
{
	ram_unmap(ram);
	free(ram->ranges);
	free(ram->at);
	free(ram);
}

void ram_touch(const struct ram *ram)
{
	for (unsigned int i = 0; i < ram->count; i++)
		for (uint64_t offset = 0; offset < ram->ranges[i].size; offset += PAGE)
			(void)*(const volatile uint64_t *)(ram->at[i] + offset);
}

bool ram_has(const struct ram *ram, uint64_t physical)
{
	for (unsigned int i = 0; i < ram->count; i++)
		if (physical >= ram->ranges[i].start &&
		    physical - ram->ranges[i].start < ram->ranges[i].size)
			return true;
	return false;
}

uint64_t ram_bytes(const struct ram *ram)
{
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < ram->count; i++)
		bytes += ram->ranges[i].size;
	return bytes;
}

const volatile void *ram_at(const struct ram *ram, uint64_t physical)
{
	for (unsigned int i = 0; i < ram->count; i++) {
		uint64_t offset = physical - ram->ranges[i].start;

		if (ram->at[i] && physical >= ram->ranges[i].start && offset < ram->ranges[i].size)
			return ram->at[i] + offset;
	}
	return NULL;
}

volatile uint8_t *range_map(int fd, uint64_t start, uint64_t size)
{
	void *at = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, start);

	if (at == MAP_FAILED)
		err(1, "mmap of RAM at %#" PRIx64, start);
	return at;
}

static sigjmp_buf after_signal;

static void on_signal(int number)
{
	siglongjmp(after_signal, number);
}

int signal_of_read(const volatile void *address)
{
	struct sigaction action = { .sa_handler = on_signal }, segv, bus;
	int number;

	sigaction(SIGSEGV, &action, &segv);
	sigaction(SIGBUS, &action, &bus);
	number = sigsetjmp(after_signal, 1);
	if (!number)
		(void)*(const volatile uint8_t *)address;
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return number;
}

uint64_t physical_address(const volatile void *address)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry;

	if (fd < 0 || pread(fd, &entry, 8, (uintptr_t)address / PAGE * 8) != 8)
		err(1, "/proc/self/pagemap");
	close(fd);
	if (!(entry >> 63))
		errx(1, "/proc/self/pagemap: the page is not there");
	return (entry & ((1UL << 55) - 1)) * PAGE + ((uintptr_t)address & (PAGE - 1));
}

char *file_text(const char *path)
{
	size_t size = 0, room = 1 << 16;
	char *text = malloc(room);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t part;

	if (fd < 0)
		err(1, "%s", path);
	while (text && (part = read(fd, text + size, room - size - 1)) > 0) {
		size += part;
		if (room - size < 4096)
			text = realloc(text, room *= 2);
	}
	if (!text)
		err(1, "%s", path);
	close(fd);
	text[size] = 0;
	return text;
}

long field(const char *path, const char *name)
{
	char *text = file_text(path);
	size_t length = strlen(name);
	long value = -1;

	for (const char *at = text; at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (!strncmp(at, name, length) && at[length] == ':') {
			value = strtol(at + length + 1, NULL, 10);
			break;
		}
	}
	free(text);
	return value;
}

uint64_t kernel_symbol(const char *name)
{
	FILE *file = fopen("/proc/kallsyms", "re");
	uint64_t address, found = 0;
	char each[512], rest[600];

	if (!file)
		err(1, "/proc/kallsyms");
	while (!found && fgets(rest, sizeof(rest), file))
		if (sscanf(rest, "%" SCNx64 " %*c %511s", &address, each) == 2 &&
		    !strcmp(each, name))
			found = address;
	fclose(file);
	return found;
}

static const struct {
	const char *name;
	void (*run)(void);
} topics[] = {
	{ "interface", check_interface },   { "mapping", check_mapping },
	{ "access", check_access },	    { "references", check_references },
	{ "accounting", check_accounting }, { "hotplug", check_hotplug },
	{ "poison", check_poison },	    { "rounds", check_rounds },
	{ "lockdown", check_lockdown },
};

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--huge")) {
			huge_pages = true;
			continue;
		}
		if (!strcmp(argv[i], "--rounds") && i + 1 < argc) {
			rounds = atoi(argv[++i]);
			continue;
		}
		if (!strcmp(argv[i], "--module") && i + 1 < argc) {
			module_path = argv[++i];
			continue;
		}
		for (size_t j = 0; j < sizeof(topics) / sizeof(topics[0]); j++) {
			if (!strcmp(argv[i], topics[j].name)) {
				topics[j].run();
				return failures > 0;
			}
		}
		// Not a topic: what check_access() executes, with the device inherited.
		if (!strcmp(argv[i], "inherited") && i + 1 < argc) {
			int fd = atoi(argv[i + 1]);
			struct gpusentinel_info info;

			refused(ioctl(fd, GPUSENTINEL_IOC_INFO, &info), EPERM,
				"after exec, ioctl() of the inherited device");
			refused((long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0x100000), EPERM,
				"after exec, mmap() of the inherited device");
			refused(open(DEVICE, O_RDONLY), EBUSY,
				"after exec, the device is still open");
			return failures > 0;
		}
		errx(2, "\"%s\" is no topic", argv[i]);
	}
	errx(2, "no topic");
}
