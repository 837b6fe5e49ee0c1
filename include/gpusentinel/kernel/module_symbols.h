/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Symbols of modules that come after a detector was loaded. Those that were there before are __ksym, as the kernel's own.
 */
#ifndef GPUSENTINEL_KERNEL_MODULE_SYMBOLS_H
#define GPUSENTINEL_KERNEL_MODULE_SYMBOLS_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/module.h>

/** More than any module has: the largest drivers have some 20,000. */
#define MODULE_SYMBOLS_MAX (1U << 17)
#define MODULE_SYMBOL_LEN 64

/** include/uapi/linux/elf.h; the same everywhere. */
struct elf64_symbol {
	u32 name;
	u8 info, other;
	u16 shndx;
	u64 value, size;
};

struct mod_kallsyms {
	const void *symtab;
	unsigned int num_symtab;
	const char *strtab;
} __kernel_type;

struct module___kallsyms {
	const struct mod_kallsyms *kallsyms;
} __kernel_type;

static inline bool module_names_equal(const char *a, const char *b)
{
	for (unsigned int i = 0; i < MODULE_SYMBOL_LEN; i++) {
		if (a[i] != b[i])
			return false;
		if (!a[i])
			return true;
	}
	return false;
}

/** A module that is live, or NULL. */
static inline const struct module *find_module(const char *name)
{
	unsigned int left = MODULES_MAX;
	struct module *mod;

	list_for_each_entry (mod, &modules, list) {
		if (!left--)
			break;
		if (mod->state == bpf_core_enum_value(enum module_state, MODULE_STATE_LIVE) &&
		    module_names_equal(mod->name, name))
			return mod;
	}
	return NULL;
}

/** Where a symbol of a module is, or NULL: one load and more for each symbol. */
static inline const void *module_find_symbol(const struct module *mod, const char *name)
{
	const struct mod_kallsyms *kallsyms = ((const struct module___kallsyms *)mod)->kallsyms;
	unsigned int count = kallsyms ? min(kallsyms->num_symtab, MODULE_SYMBOLS_MAX) : 0;

	for (unsigned int i = 0; i < count; i++) {
		const struct elf64_symbol *symbol =
			(const struct elf64_symbol *)kallsyms->symtab + i;

		if (module_names_equal(kallsyms->strtab + symbol->name, name))
			return (const void *)symbol->value;
	}
	return NULL;
}

#endif
