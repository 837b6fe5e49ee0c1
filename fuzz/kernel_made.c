// SPDX-License-Identifier: Apache-2.0
#include "kernel_made.h"

#include <bpf/btf.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/unit/kernel_kallsyms.h"
#include "../tests/unit/kernel_memory.h"

// Physical: the note, the modules' memory, and from 2 MiB on the image.
#define MEMORY_SIZE UINT64_C(0x400000)
#define NOTE_PHYS UINT64_C(0x1000)
#define MODULES_PHYS UINT64_C(0x4000)
#define MODULES_SIZE UINT64_C(0x2000)
#define IMAGE_PHYS UINT64_C(0x200000)
#define IMAGE_SIZE UINT64_C(0x200000)
// In the image.
#define SYMBOLS_SIZE UINT64_C(0x10000)
#define VARIABLES UINT64_C(0x180000)
#define TYPES UINT64_C(0x190000)
#define TABLES UINT64_C(0x1f0000)
// Virtual.
#define DIRECT UINT64_C(0xffff888000000000)
#define MODULES UINT64_C(0xffffffffc0000000)

enum {
	// So many that zeroes, no noise, follow num_syms, as the linker has it.
	FILLERS = 304,
	PER_CPU_END = 0x2000,
};

// Offsets from VARIABLES.
enum {
	PER_CPU_OFFSET = 0,
	NR_CPU_IDS = 0x40,
	CPU_MASK = 0x48,
	UTS = 0x80,
	PAGE_OFFSET_BASE = 0x100,
	VMALLOC_BASE = 0x108,
	VMEMMAP_BASE = 0x110,
	MODULES_HEAD = 0x120,
	VARIABLES_SIZE = 0x140,
};

// As the types below say.
struct module {
	uint32_t state, pad;
	uint64_t next, prev;
	char name[56];
	struct {
		uint64_t base;
		uint32_t size, pad;
	} mem[2];
	uint64_t kallsyms;
};

struct mod_kallsyms {
	uint64_t symtab;
	uint32_t num_symtab, pad;
	uint64_t strtab;
};

static struct btf *make_types(void)
{
	struct btf *btf = btf__new_empty();
	int u32 = btf__add_int(btf, "unsigned int", 4, 0);
	int u64 = btf__add_int(btf, "unsigned long", 8, 0);
	int character = btf__add_int(btf, "char", 1, BTF_INT_SIGNED);
	int name = btf__add_array(btf, u32, character, 56);
	int pointer = btf__add_ptr(btf, 0);
	int state = btf__add_enum(btf, "module_state", 4);

	btf__add_enum_value(btf, "MODULE_STATE_LIVE", 0);
	btf__add_enum_value(btf, "MODULE_STATE_UNFORMED", 3);

	int list = btf__add_struct(btf, "list_head", 16);

	btf__add_field(btf, "next", pointer, 0, 0);
	btf__add_field(btf, "prev", pointer, 64, 0);

	int memory = btf__add_struct(btf, "module_memory", 16);

	btf__add_field(btf, "base", pointer, 0, 0);
	btf__add_field(btf, "size", u32, 64, 0);

	int memories = btf__add_array(btf, u32, memory, 2);

	btf__add_struct(btf, "mod_kallsyms", sizeof(struct mod_kallsyms));
	btf__add_field(btf, "symtab", pointer, 0, 0);
	btf__add_field(btf, "num_symtab", u32, 64, 0);
	btf__add_field(btf, "strtab", pointer, 128, 0);
	btf__add_struct(btf, "module", sizeof(struct module));
	btf__add_field(btf, "state", state, 0, 0);
	btf__add_field(btf, "list", list, offsetof(struct module, next) * 8, 0);
	btf__add_field(btf, "name", name, offsetof(struct module, name) * 8, 0);
	btf__add_field(btf, "mem", memories, offsetof(struct module, mem) * 8, 0);
	btf__add_field(btf, "kallsyms", u64, offsetof(struct module, kallsyms) * 8, 0);
	return btf;
}

static void add_area(struct made_kernel *made, uint64_t phys, size_t size)
{
	made->areas[made->area_count].bytes = memory_at(made->target, phys);
	made->areas[made->area_count++].size = size;
	made->size += size;
}

static size_t put_types(struct made_kernel *made)
{
	struct btf *btf = make_types();
	uint32_t size;
	const void *blob = btf__raw_data(btf, &size);

	if (!blob)
		abort();
	memcpy(memory_at(made->target, IMAGE_PHYS + TYPES), blob, size);
	add_area(made, IMAGE_PHYS + TYPES, size);
	btf__free(btf);
	return size;
}

// Three modules in the list; each has two symbols.
static void put_modules(struct made_kernel *made)
{
	static const char strings[] = "\0module_function\0other_function";
	uint64_t head = MADE_TEXT + VARIABLES + MODULES_HEAD;
	uint64_t *link = memory_at(made->target, IMAGE_PHYS + VARIABLES + MODULES_HEAD);

	for (uint64_t i = 0; i < 3; i++) {
		uint64_t at = MODULES + i * 0x400;
		uint8_t *bytes = memory_at(made->target, MODULES_PHYS + i * 0x400);
		struct module module = {
			.name = "ext4",
			.next = head,
			.mem = { { .base = MODULES + 0x10000 * (i + 1), .size = 0x1000 },
				 { .base = MODULES + 0x10000 * (i + 1) + 0x2000, .size = 0x200 } },
			.kallsyms = at + 0x100,
		};
		struct mod_kallsyms kallsyms = {
			.symtab = at + 0x140,
			.num_symtab = 3,
			.strtab = at + 0x200,
		};
		Elf64_Sym symbols[3] = {
			{},
			{ .st_name = 1, .st_shndx = 1, .st_value = module.mem[0].base + 0x10 },
			{ .st_name = 17, .st_shndx = 1, .st_value = module.mem[0].base + 0x80 },
		};

		*link = at + offsetof(struct module, next);
		memcpy(bytes, &module, sizeof(module));
		memcpy(bytes + 0x100, &kallsyms, sizeof(kallsyms));
		memcpy(bytes + 0x140, symbols, sizeof(symbols));
		memcpy(bytes + 0x200, strings, sizeof(strings));
		link = (uint64_t *)(bytes + offsetof(struct module, next));
	}
	add_area(made, MODULES_PHYS, 3 * 0x400);
}

static struct made_table put_symbols(struct made_kernel *made, enum kallsyms_encoding encoding,
				     bool addresses_first, size_t types_size)
{
	uint64_t variables = MADE_TEXT + VARIABLES;
	static const struct made_symbol per_cpu[] = { { "A__per_cpu_start", 0 },
						      { "A__per_cpu_end", PER_CPU_END } };
	const struct made_symbol first[] = { { "T_text", MADE_TEXT }, { "T_stext", MADE_TEXT } };
	const struct made_symbol last[] = {
		{ "D__per_cpu_offset", variables + PER_CPU_OFFSET },
		{ "Dnr_cpu_ids", variables + NR_CPU_IDS },
		{ "D__cpu_possible_mask", variables + CPU_MASK },
		{ "Dinit_uts_ns", variables + UTS },
		{ "Dpage_offset_base", variables + PAGE_OFFSET_BASE },
		{ "Dvmalloc_base", variables + VMALLOC_BASE },
		{ "Dvmemmap_base", variables + VMEMMAP_BASE },
		{ "dmodules", variables + MODULES_HEAD },
		{ "R__start_BTF", MADE_TEXT + TYPES },
		{ "R__stop_BTF", MADE_TEXT + TYPES + types_size },
		{ "B_end", MADE_TEXT + IMAGE_SIZE },
	};
	static char names[FILLERS][24];
	struct made_symbol symbols[FILLERS + 16];
	uint32_t count = 0;

	// The other encodings cannot say 0.
	for (int i = 0; i < 2 && encoding == KALLSYMS_ABSOLUTE_PERCPU; i++)
		symbols[count++] = per_cpu[i];
	for (int i = 0; i < 2; i++)
		symbols[count++] = first[i];
	for (int i = 0; i < FILLERS; i++) {
		snprintf(names[i], sizeof(names[i]), "tfunction_%d", i);
		symbols[count++] =
			(struct made_symbol){ names[i], MADE_TEXT + 0x100 + (uint64_t)i * 16 };
	}
	for (size_t i = 0; i < sizeof(last) / sizeof(last[0]); i++)
		symbols[count++] = last[i];

	struct made_table table =
		make_kallsyms(memory_at(made->target, IMAGE_PHYS), SYMBOLS_SIZE, MADE_TEXT,
			      encoding == KALLSYMS_PLACE_RELATIVE ? 4 : 8, symbols, count, encoding,
			      MADE_TEXT, addresses_first);

	add_area(made, IMAGE_PHYS + 4096, table.size - 4096);
	return table;
}

static void put_note(struct made_kernel *made, const struct kallsyms_tables *tables)
{
	char *note = memory_at(made->target, NOTE_PHYS), *text = note + 24;
	uint64_t phys_base = IMAGE_PHYS - (MADE_TEXT - UINT64_C(0xffffffff80000000));
	int length = sprintf(text,
			     "OSRELEASE=9.9-fuzz\nSYMBOL(swapper_pg_dir)=%lx\nSYMBOL(_stext)=%lx\n"
			     "SYMBOL(init_uts_ns)=%lx\nNUMBER(phys_base)=%ld\n"
			     "NUMBER(pgtable_l5_enabled)=0\nSIZE(page)=64\nKERNELOFFSET=0\n",
			     MADE_TEXT + TABLES, MADE_TEXT, MADE_TEXT + VARIABLES + UTS,
			     (long)phys_base);

	if (tables)
		length += sprintf(text + length,
				  "SYMBOL(kallsyms_names)=%lx\nSYMBOL(kallsyms_num_syms)=%lx\n"
				  "SYMBOL(kallsyms_token_table)=%lx\n"
				  "SYMBOL(kallsyms_token_index)=%lx\n"
				  "SYMBOL(kallsyms_offsets)=%lx\n",
				  tables->names, tables->num_syms, tables->token_table,
				  tables->token_index, tables->offsets);
	if (tables && tables->relative_base)
		length += sprintf(text + length, "SYMBOL(kallsyms_relative_base)=%lx\n",
				  tables->relative_base);

	uint32_t header[3] = { 11, length, 0 };

	memcpy(note, header, sizeof(header));
	memcpy(note + sizeof(header), "VMCOREINFO\0", 12);
	add_area(made, NOTE_PHYS, 24 + length);
}

// The image by one leaf of 2M, the direct map by one of 1G, the modules by pages.
static void put_tables(struct made_kernel *made)
{
	uint64_t(*tables)[512] = memory_at(made->target, IMAGE_PHYS + TABLES);
	uint64_t phys = IMAGE_PHYS + TABLES;

	tables[0][511] = (phys + 0x1000) | 3;
	tables[1][510] = (phys + 0x2000) | 3;
	tables[2][8] = IMAGE_PHYS | 0x83;
	tables[1][511] = (phys + 0x3000) | 3;
	tables[3][0] = (phys + 0x4000) | 3;
	for (uint64_t i = 0; i < MODULES_SIZE / 4096; i++)
		tables[4][i] = (MODULES_PHYS + i * 4096) | 3;
	tables[0][DIRECT >> 39 & 511] = (phys + 0x5000) | 3;
	tables[5][0] = 0x83;
	add_area(made, phys, 6 * 4096);
}

static void put_variables(struct made_kernel *made)
{
	uint8_t *variables = memory_at(made->target, IMAGE_PHYS + VARIABLES);
	uint64_t areas[2] = { DIRECT + 0x100000, DIRECT + 0x110000 }, mask = 3;
	uint64_t bases[3] = { DIRECT, UINT64_C(0xffffc90000000000), UINT64_C(0xffffea0000000000) };
	uint32_t cpus = 2;

	memcpy(variables + PER_CPU_OFFSET, areas, sizeof(areas));
	memcpy(variables + NR_CPU_IDS, &cpus, sizeof(cpus));
	memcpy(variables + CPU_MASK, &mask, sizeof(mask));
	memcpy(variables + PAGE_OFFSET_BASE, bases, sizeof(bases));
	add_area(made, IMAGE_PHYS + VARIABLES, VARIABLES_SIZE);
}

void made_kernel_init(struct made_kernel *made, unsigned int which)
{
	static const struct {
		enum kallsyms_encoding encoding;
		bool named;
	} kinds[MADE_KERNELS] = {
		{ KALLSYMS_ABSOLUTE_PERCPU, true },
		{ KALLSYMS_PLACE_RELATIVE, true },
		{ KALLSYMS_RELATIVE, true },
		{ KALLSYMS_ABSOLUTE_PERCPU, false },
	};

	*made = (struct made_kernel){ .target = memory_target(0, MEMORY_SIZE) };

	size_t types_size = put_types(made);
	struct made_table table =
		put_symbols(made, kinds[which].encoding, !kinds[which].named, types_size);

	put_note(made, kinds[which].named ? &table.tables : NULL);
	put_variables(made);
	put_modules(made);
	put_tables(made);
}

uint8_t *made_kernel_byte(const struct made_kernel *made, size_t position, size_t *size)
{
	position %= made->size;
	for (size_t i = 0; i < made->area_count; i++) {
		size_t left = made->areas[i].size - position;

		if (position < made->areas[i].size) {
			*size = *size < left ? *size : left;
			return made->areas[i].bytes + position;
		}
		position -= made->areas[i].size;
	}
	abort();
}
