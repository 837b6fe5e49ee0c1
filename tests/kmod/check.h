/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of /dev/gpusentinel share. They run as root in a guest, without a libc there. */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../kmod/gpusentinel.h"

#define DEVICE "/dev/gpusentinel"
#define PAGE 4096UL
#define HUGE_PAGE (2UL << 20)

/* A line "ok: ..." or "FAIL: ...". */
void check(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The result of a system call that must fail so. */
void refused(long result, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* What could not be looked at here. */
void skip(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Run it in a child; what fails there fails here. */
void in_child(void (*run)(void *), void *arg);

int device_open(void);
/* The text that the device gives, terminated; the caller frees it. */
char *device_vmcoreinfo(int fd);

/* All RAM that the device tells of. */
struct ram {
	unsigned int count;
	uint64_t generation;
	struct gpusentinel_range *ranges;
	/* NULL: not mapped. */
	volatile uint8_t **at;
};

struct ram *ram_list(int fd);
/* At addresses that let the kernel use huge pages. */
void ram_map(int fd, struct ram *ram);
void ram_unmap(struct ram *ram);
void ram_free(struct ram *ram);
/* Read a word of each page. */
void ram_touch(const struct ram *ram);
bool ram_has(const struct ram *ram, uint64_t physical);
uint64_t ram_bytes(const struct ram *ram);
/* Where a physical address is in the mapping; NULL if it is no RAM. */
const volatile void *ram_at(const struct ram *ram, uint64_t physical);
/* One range of RAM, at any address; ends the program if that is refused. */
volatile uint8_t *range_map(int fd, uint64_t start, uint64_t size);

/* The signal that a read raises; 0: none. */
int signal_of_read(const volatile void *address);
uint64_t physical_address(const volatile void *address);

/* Number behind "NAME:" in a file such as /proc/meminfo; -1 if it is not there. */
long field(const char *path, const char *name);
/* As /proc/kallsyms has it; 0 if it does not. */
uint64_t kernel_symbol(const char *name);
char *file_text(const char *path);

/* The topics. */
void check_interface(void);
void check_mapping(void);
void check_access(void);
void check_references(void);
void check_accounting(void);
void check_hotplug(void);
void check_poison(void);
void check_rounds(void);
void check_lockdown(void);

/* What the command line says. */
extern int rounds;
extern const char *module_path;
extern bool huge_pages;

#endif
