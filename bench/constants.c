// SPDX-License-Identifier: Apache-2.0
// constants TARGET: the addresses and offsets that floor.c has compiled in, as #defines.
#include <bpf/btf.h>
#include <err.h>
#include <stdio.h>
#include <string.h>

#include <gpusentinel/kernel_info.h>

static void check(struct gs_error *error)
{
	if (error)
		errx(error->code, "%s", error->message);
}

static void print_member(struct btf *btf, const char *type_name, const char *member_name)
{
	const struct btf_type *type =
		btf__type_by_id(btf, btf__find_by_name_kind(btf, type_name, BTF_KIND_STRUCT));

	for (unsigned int i = 0; type && i < btf_vlen(type); i++) {
		const char *name = btf__name_by_offset(btf, btf_members(type)[i].name_off);

		if (strcmp(name, member_name))
			continue;
		printf("#define %s_%s %u\n", type_name, member_name,
		       btf_member_bit_offset(type, i) / 8);
		return;
	}
	errx(1, "BTF has no %s.%s", type_name, member_name);
}

int main(int argc, char **argv)
{
	struct gs_target_options target_options = { .size = sizeof(target_options) };
	struct gs_kernel_options kernel_options = { .size = sizeof(kernel_options) };
	struct gs_target *target;
	struct gs_kernel *kernel;
	struct btf *btf;
	uint64_t init_task, phys;

	if (argc != 2)
		errx(2, "usage: constants TARGET");
	check(gs_target_open(argv[1], &target_options, &target));
	check(gs_kernel_open(target, &kernel_options, &kernel));
	check(gs_kernel_btf(kernel, &btf));
	check(gs_kernel_find_symbol(kernel, "init_task", &init_task));
	check(gs_kernel_translate(kernel, init_task, &phys));
	printf("#define INIT_TASK_PHYS %#llxull\n", (unsigned long long)phys);
	printf("#define INIT_TASK %#llxull\n", (unsigned long long)init_task);
	printf("#define DIRECT_MAP %#llxull\n",
	       (unsigned long long)gs_kernel_map(kernel)->direct_base);
	print_member(btf, "task_struct", "tasks");
	print_member(btf, "task_struct", "pid");
	print_member(btf, "task_struct", "tgid");
	print_member(btf, "task_struct", "comm");
	print_member(btf, "task_struct", "flags");
	print_member(btf, "task_struct", "real_parent");
	print_member(btf, "task_struct", "start_boottime");
	gs_kernel_close(kernel);
	gs_target_close(target);
	return 0;
}
