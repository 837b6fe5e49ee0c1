// SPDX-License-Identifier: Apache-2.0
// The types of a kernel: any bytes as a BTF blob. What is accepted must be safe to use.
#include <stdlib.h>

#include "kernel/btf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	MAX_TYPES_USED = 256,
	MAX_MEMBERS_USED = 64,
};

static void use(const struct types *types, uint32_t id)
{
	static const char *const paths[] = { "", "[1].a", "a.b", "a[1]", "a->b", "tasks.next" };
	struct type_location location;
	struct type_member member;
	const char *name;
	uint32_t element, count;
	uint64_t bytes;
	int64_t value;
	bool is_signed;

	types_name(types, id);
	types_resolve(types, id);
	types_skip_modifiers(types, id);
	types_sizeof(types, id, &bytes);
	types_is_signed(types, id, &is_signed);
	types_pointee(types, id, &element);
	types_array(types, id, &element, &count);
	types_find_member(types, id, "a", &member);
	types_find_enumerator(types, id, "a", &value, NULL);
	for (uint32_t i = 0; i < types_vlen(types, id) && i < MAX_MEMBERS_USED; i++) {
		types_member_at(types, id, i, &member, &name);
		types_enumerator_at(types, id, i, &name, &value);
	}
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		gs_error_destroy(types_resolve_path(types, id, paths[i], &location));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct types *types;
	struct gs_error *err = types_create(data, size, &types);
	int64_t value;

	if (err) {
		gs_error_destroy(err);
		return 0;
	}
	for (uint32_t id = 0; id <= types_count(types) && id < MAX_TYPES_USED; id++)
		use(types, id);
	types_find_any_enumerator(types, "a", &value);
	types_find_one(types, "task_struct", 0);
	types_destroy(types);
	return 0;
}
