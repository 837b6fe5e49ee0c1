// SPDX-License-Identifier: Apache-2.0
// Relocation against types made with libbpf: what moved, what is gone, what is there twice.
#include "engine_builder.h"

#include <bpf/btf.h>

#include "engine/resolve.h"
#include "kernel/btf.h"

#define KIND_ENUM64 19

struct kernel {
	struct btf *btf;
	struct types *types;
	int u8, u32, s32, u64, s64;
	struct builder b;
	uint64_t slots[BUILDER_MAX];
	size_t queries;
};

static struct gs_error *find_symbols(void *arg, struct gs_symbol_query *queries, size_t count)
{
	struct kernel *k = arg;

	k->queries += count;
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(queries[i].name, "init_task")) {
			queries[i].found = true;
			queries[i].address = UINT64_C(0xffffffff82a14000);
		} else if (!strcmp(queries[i].name, "runqueues")) {
			queries[i].found = queries[i].percpu = true;
			queries[i].address = 0x2b0c0;
		}
	}
	return NULL;
}

static int setup(void **state)
{
	struct kernel *k = calloc(1, sizeof(*k));

	assert_non_null(k);
	k->btf = btf__new_empty();
	assert_non_null(k->btf);
	k->u8 = btf__add_int(k->btf, "unsigned char", 1, 0);
	k->u32 = btf__add_int(k->btf, "unsigned int", 4, 0);
	k->s32 = btf__add_int(k->btf, "int", 4, BTF_INT_SIGNED);
	k->u64 = btf__add_int(k->btf, "long unsigned int", 8, 0);
	k->s64 = btf__add_int(k->btf, "long int", 8, BTF_INT_SIGNED);
	builder_init(&k->b);
	builder_detector(&k->b, "sample", "gs_run_sample");
	*state = k;
	return 0;
}

static int teardown(void **state)
{
	struct kernel *k = *state;

	types_destroy(k->types);
	btf__free(k->btf);
	free(k);
	return 0;
}

static struct gs_error *resolve(struct kernel *k)
{
	const void *blob;
	uint32_t size;

	blob = btf__raw_data(k->btf, &size);
	assert_non_null(blob);
	types_destroy(k->types);
	k->types = NULL;

	struct gs_error *err = types_create(blob, size, &k->types);

	if (err)
		fail_msg("%s", err->message);

	struct gs_fat *fat = builder_open(&k->b);
	struct resolve_source source = {
		.release = "6.1.0-49-amd64",
		.types = k->types,
		.find_symbols = find_symbols,
		.arg = k,
		.percpu_start = 0x1000,
	};

	err = resolve_slots(fat, "sample", &source, k->slots);
	gs_fat_close(fat);
	return err;
}

static void resolve_all(struct kernel *k)
{
	struct gs_error *err = resolve(k);

	if (err)
		fail_msg("%s", err->message);
}

static struct gs_fat_slot *field(struct kernel *k, uint16_t kind, const char *type,
				 const char *path)
{
	return builder_slot(&k->b, kind, BTF_KIND_STRUCT, type, path);
}

static void scalar(struct kernel *k, const char *type, const char *path, uint32_t size)
{
	struct gs_fat_slot *slot = field(k, GS_SLOT_FIELD_OFFSET, type, path);

	slot->flags = GS_SLOT_F_SCALAR;
	slot->local_size = size;
}

static void add(struct kernel *k, const char *name, int type, uint32_t bit_offset, uint32_t bits)
{
	assert_int_equal(btf__add_field(k->btf, name, type, bit_offset, bits), 0);
}

static void fields_are_found_where_the_kernel_has_them(void **state)
{
	struct kernel *k = *state;
	int entity = btf__add_struct(k->btf, "sched_entity", 64);

	add(k, "vruntime", k->u64, 40 * 8, 0);

	int comm = btf__add_array(k->btf, k->u32, k->u8, 16);

	btf__add_struct(k->btf, "task_struct", 9000);
	add(k, "se", entity, 128 * 8, 0);
	add(k, "pid", k->s32, 1328 * 8, 0);
	add(k, "comm", comm, 1848 * 8, 0);
	scalar(k, "task_struct", ".pid", 4);
	scalar(k, "task_struct", ".se.vruntime", 8);
	field(k, GS_SLOT_FIELD_OFFSET, "task_struct", ".comm");
	scalar(k, "task_struct", ".comm[3]", 1);
	scalar(k, "task_struct", "[2].pid", 4);
	field(k, GS_SLOT_FIELD_SIZE, "task_struct", ".comm");
	field(k, GS_SLOT_FIELD_SIGNED, "task_struct", ".pid");
	field(k, GS_SLOT_FIELD_SIGNED, "task_struct", ".se.vruntime");
	field(k, GS_SLOT_FIELD_EXISTS, "task_struct", ".pid");
	field(k, GS_SLOT_FIELD_LSHIFT, "task_struct", ".pid");
	field(k, GS_SLOT_FIELD_RSHIFT, "task_struct", ".pid");
	resolve_all(k);

	static const uint64_t expected[] = { 1328, 168, 1848, 1851, 2 * 9000 + 1328, 16, 1,
					     0,	   1,	32,   32 };

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_int_equal(k->slots[i], expected[i]);
}

static void parameters_have_their_defaults(void **state)
{
	struct kernel *k = *state;

	builder_slot(&k->b, GS_SLOT_PARAM, 0, "limit_ms", "how long")->local_value = UINT64_MAX;
	builder_slot(&k->b, GS_SLOT_PARAM, 0, "count", "how many")->local_value = 3;
	resolve_all(k);
	assert_int_equal(k->slots[0], UINT64_MAX);
	assert_int_equal(k->slots[1], 3);
}

static void anonymous_members_are_looked_through(void **state)
{
	struct kernel *k = *state;
	int inner = btf__add_struct(k->btf, NULL, 16);

	add(k, "flags", k->u64, 0, 0);
	add(k, "_mapcount", k->u32, 64, 0);

	int anonymous = btf__add_union(k->btf, NULL, 16);

	add(k, NULL, inner, 0, 0);
	add(k, "private", k->u64, 0, 0);
	btf__add_struct(k->btf, "page", 64);
	add(k, NULL, anonymous, 48 * 8, 0);
	scalar(k, "page", "._mapcount", 4);
	scalar(k, "page", ".private", 8);
	resolve_all(k);
	assert_int_equal(k->slots[0], 56);
	assert_int_equal(k->slots[1], 48);
}

static void flexible_arrays_have_any_index(void **state)
{
	struct kernel *k = *state;
	int flexible = btf__add_array(k->btf, k->u32, k->u64, 0);
	int fixed = btf__add_array(k->btf, k->u32, k->u64, 2);

	btf__add_struct(k->btf, "cgroup", 24);
	add(k, "fixed", fixed, 64, 0);
	add(k, "ancestors", flexible, 24 * 8, 0);
	scalar(k, "cgroup", ".ancestors[5]", 8);
	resolve_all(k);
	assert_int_equal(k->slots[0], 24 + 40);
	scalar(k, "cgroup", ".fixed[2]", 8);
	assert_error(resolve(k), GS_ERROR_DETECTOR, "has no field cgroup.fixed[2]");
}

static void bit_fields_are_loaded_and_shifted(void **state)
{
	struct kernel *k = *state;

	btf__add_struct(k->btf, "tcp", 16);
	add(k, "a", k->u32, 3, 5);
	add(k, "b", k->s32, 40, 12);
	// Lies in the last byte of one int and the first of the next: 8 bytes must be loaded.
	add(k, "c", k->u32, 28, 8);
	for (int i = 0; i < 3; i++) {
		static const char *const paths[] = { ".a", ".b", ".c" };

		for (uint16_t kind = 0; kind <= GS_SLOT_FIELD_RSHIFT; kind++)
			field(k, kind, "tcp", paths[i])->flags = GS_SLOT_F_BITFIELD;
	}
	resolve_all(k);

	// Offset, size, exists, signed, left, right.
	static const uint64_t expected[] = {
		0, 4, 1, 0, 56, 59, 4, 4, 1, 1, 44, 52, 0, 8, 1, 0, 28, 56,
	};

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_int_equal(k->slots[i], expected[i]);
}

static void a_bit_field_may_have_become_a_plain_field(void **state)
{
	struct kernel *k = *state;

	btf__add_struct(k->btf, "task_struct", 32);
	add(k, "in_execve", k->u8, 17 * 8, 0);
	for (uint16_t kind = 0; kind <= GS_SLOT_FIELD_RSHIFT; kind++)
		field(k, kind, "task_struct", ".in_execve")->flags =
			GS_SLOT_F_BITFIELD | GS_SLOT_F_SCALAR;
	resolve_all(k);
	assert_int_equal(k->slots[GS_SLOT_FIELD_OFFSET], 17);
	assert_int_equal(k->slots[GS_SLOT_FIELD_SIZE], 1);
	assert_int_equal(k->slots[GS_SLOT_FIELD_LSHIFT], 56);
	assert_int_equal(k->slots[GS_SLOT_FIELD_RSHIFT], 56);
}

static void a_plain_field_that_became_a_bit_field_is_refused(void **state)
{
	struct kernel *k = *state;

	btf__add_struct(k->btf, "task_struct", 32);
	add(k, "jobctl", k->u32, 4, 7);
	scalar(k, "task_struct", ".jobctl", 4);
	assert_error(resolve(k), GS_ERROR_DETECTOR,
		     "sample: the kernel 6.1.0-49-amd64 has task_struct.jobctl as a bit field");
}

static void another_size_is_refused(void **state)
{
	struct kernel *k = *state;

	btf__add_struct(k->btf, "task_struct", 32);
	add(k, "state", k->u32, 64, 0);
	scalar(k, "task_struct", ".state", 8);
	assert_error(resolve(k), GS_ERROR_DETECTOR,
		     "has task_struct.state of 4 bytes, the detector reads 8 (used at "
		     "detectors/sample.c:31:7)");
}

static void a_number_that_became_a_struct_is_refused(void **state)
{
	struct kernel *k = *state;
	int wrapped = btf__add_struct(k->btf, "kuid_t", 4);

	add(k, "val", k->u32, 0, 0);
	btf__add_struct(k->btf, "cred", 32);
	add(k, "uid", wrapped, 64, 0);
	scalar(k, "cred", ".uid", 4);
	assert_error(resolve(k), GS_ERROR_DETECTOR, "has cred.uid, but not as a number");
}

static void pointers_and_enums_are_numbers(void **state)
{
	struct kernel *k = *state;
	int ptr = btf__add_ptr(k->btf, 0);
	int zone = btf__add_enum(k->btf, "zone_type", 4);

	btf__add_enum_value(k->btf, "ZONE_DMA", 0);

	int pgd = btf__add_typedef(k->btf, "pgd_ptr", ptr);

	btf__add_struct(k->btf, "mm_struct", 32);
	add(k, "pgd", pgd, 64, 0);
	add(k, "zone", zone, 128, 0);
	scalar(k, "mm_struct", ".pgd", 8);
	scalar(k, "mm_struct", ".zone", 4);
	resolve_all(k);
	assert_int_equal(k->slots[0], 8);
	assert_int_equal(k->slots[1], 16);
}

static void the_first_missing_thing_is_named_and_all_are_counted(void **state)
{
	struct kernel *k = *state;

	btf__add_struct(k->btf, "task_struct", 32);
	add(k, "pid", k->s32, 0, 0);
	scalar(k, "task_struct", ".pid", 4);
	k->b.slots[1].site = 0;
	scalar(k, "task_struct", ".foo", 4);
	assert_error(resolve(k), GS_ERROR_DETECTOR,
		     "sample: the kernel 6.1.0-49-amd64 has no field task_struct.foo (used at "
		     "detectors/sample.c:31:7)");
	scalar(k, "nothing", ".bar", 4);
	builder_slot(&k->b, GS_SLOT_SYMBOL, 0, "no_such_symbol", "");
	assert_error(resolve(k), GS_ERROR_DETECTOR,
		     "has no field task_struct.foo (used at "
		     "detectors/sample.c:31:7); 2 more do not fit this kernel");
	k->b.slot_count = 0;
	scalar(k, "nothing", ".bar", 4);
	assert_error(resolve(k), GS_ERROR_DETECTOR, "has no type struct nothing");
	k->b.slot_count = 0;
	builder_slot(&k->b, GS_SLOT_SYMBOL, 0, "no_such_symbol", "");
	assert_error(resolve(k), GS_ERROR_DETECTOR, "has no symbol no_such_symbol");
}

static void optional_things_may_be_absent(void **state)
{
	struct kernel *k = *state;

	btf__add_struct(k->btf, "task_struct", 32);
	add(k, "__state", k->u32, 64, 0);
	scalar(k, "task_struct", ".__state", 4);
	scalar(k, "task_struct", ".state", 8);
	field(k, GS_SLOT_FIELD_EXISTS, "task_struct", ".state");
	field(k, GS_SLOT_FIELD_SIZE, "task_struct", ".state");
	field(k, GS_SLOT_FIELD_OFFSET, "old_struct", ".x");
	builder_slot(&k->b, GS_SLOT_SYMBOL, 0, "no_such_symbol", "");
	for (uint32_t i = 0; i < k->b.slot_count; i++)
		k->b.slots[i].flags |= GS_SLOT_F_OPTIONAL;
	// To ask whether something exists never refuses.
	field(k, GS_SLOT_FIELD_EXISTS, "nothing", ".x");
	builder_slot(&k->b, GS_SLOT_TYPE_EXISTS, BTF_KIND_STRUCT, "nothing", "");
	builder_slot(&k->b, GS_SLOT_TYPE_SIZE, BTF_KIND_STRUCT, "nothing", "");
	builder_slot(&k->b, GS_SLOT_ENUMVAL_EXISTS, BTF_KIND_ENUM, "nothing", "X");
	resolve_all(k);

	static const uint64_t expected[] = {
		8, GS_SLOT_ABSENT, 0, 0, GS_SLOT_ABSENT, 0, 0, 0, 0, 0
	};

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_int_equal(k->slots[i], expected[i]);
}

static void types_answer_for_their_size(void **state)
{
	struct kernel *k = *state;
	int task = btf__add_struct(k->btf, "task_struct", 9000);

	btf__add_fwd(k->btf, "bpf_map", BTF_FWD_STRUCT);
	btf__add_typedef(k->btf, "pid_t", k->s32);
	builder_slot(&k->b, GS_SLOT_TYPE_EXISTS, BTF_KIND_STRUCT, "task_struct", "");
	builder_slot(&k->b, GS_SLOT_TYPE_SIZE, BTF_KIND_STRUCT, "task_struct", "");
	builder_slot(&k->b, GS_SLOT_TYPE_MATCHES, BTF_KIND_STRUCT, "task_struct", "");
	builder_slot(&k->b, GS_SLOT_TYPE_ID_TARGET, BTF_KIND_STRUCT, "task_struct", "");
	// Another kind, and a declaration alone, are not the type.
	builder_slot(&k->b, GS_SLOT_TYPE_EXISTS, BTF_KIND_UNION, "task_struct", "");
	builder_slot(&k->b, GS_SLOT_TYPE_EXISTS, BTF_KIND_STRUCT, "bpf_map", "");
	builder_slot(&k->b, GS_SLOT_TYPE_SIZE, BTF_KIND_TYPEDEF, "pid_t", "");
	resolve_all(k);

	const uint64_t expected[] = { 1, 9000, 1, (uint64_t)task, 0, 0, 4 };

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_int_equal(k->slots[i], expected[i]);
}

static void enumerators_have_the_kernels_values(void **state)
{
	struct kernel *k = *state;

	btf__add_enum(k->btf, "zone_stat_item", 4);
	btf__add_enum_value(k->btf, "NR_FREE_PAGES", 0);
	btf__add_enum_value(k->btf, "NR_MLOCK", 7);
	btf__add_enum64(k->btf, "big", 8, false);
	btf__add_enum64_value(k->btf, "HUGE", UINT64_C(0x8000000000000001));
	btf__add_enum(k->btf, NULL, 4);
	btf__add_enum_value(k->btf, "LONELY", 42);
	builder_slot(&k->b, GS_SLOT_ENUMVAL_VALUE, BTF_KIND_ENUM, "zone_stat_item", "NR_MLOCK");
	builder_slot(&k->b, GS_SLOT_ENUMVAL_EXISTS, BTF_KIND_ENUM, "zone_stat_item", "NR_MLOCK");
	// The detector's enum fits in 32 bits, the kernel's does not.
	builder_slot(&k->b, GS_SLOT_ENUMVAL_VALUE, BTF_KIND_ENUM, "big", "HUGE");
	builder_slot(&k->b, GS_SLOT_ENUMVAL_VALUE, KIND_ENUM64, "zone_stat_item", "NR_MLOCK");
	builder_slot(&k->b, GS_SLOT_ENUMVAL_VALUE, BTF_KIND_ENUM, "", "LONELY");
	builder_slot(&k->b, GS_SLOT_ENUMVAL_EXISTS, BTF_KIND_ENUM, "zone_stat_item", "NR_BOUNCE");
	resolve_all(k);

	static const uint64_t expected[] = { 7, 1, UINT64_C(0x8000000000000001), 7, 42, 0 };

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_int_equal(k->slots[i], expected[i]);
	builder_slot(&k->b, GS_SLOT_ENUMVAL_VALUE, BTF_KIND_ENUM, "zone_stat_item", "NR_BOUNCE");
	assert_error(resolve(k), GS_ERROR_DETECTOR,
		     "has no enumerator NR_BOUNCE in enum zone_stat_item");
}

static void types_of_one_name_are_all_tried(void **state)
{
	struct kernel *k = *state;

	// A driver's own struct of that name, without the field.
	btf__add_struct(k->btf, "ring_buffer", 8);
	add(k, "other", k->u64, 0, 0);
	btf__add_struct(k->btf, "ring_buffer", 64);
	add(k, "pages", k->u64, 128, 0);
	btf__add_struct(k->btf, "ring_buffer", 64);
	add(k, "pages", k->u64, 128, 0);
	// One of another size is not what the detector reads.
	btf__add_struct(k->btf, "ring_buffer", 64);
	add(k, "pages", k->u32, 32, 0);
	scalar(k, "ring_buffer", ".pages", 8);
	resolve_all(k);
	assert_int_equal(k->slots[0], 16);
}

static void types_of_one_name_that_differ_are_refused(void **state)
{
	struct kernel *k = *state;

	btf__add_struct(k->btf, "ring_buffer", 64);
	add(k, "pages", k->u64, 128, 0);
	btf__add_struct(k->btf, "ring_buffer", 64);
	add(k, "pages", k->u64, 192, 0);
	scalar(k, "ring_buffer", ".pages", 8);
	assert_error(resolve(k), GS_ERROR_DETECTOR,
		     "has several types struct ring_buffer that differ in pages");
}

static void symbols_are_looked_up_in_one_pass(void **state)
{
	struct kernel *k = *state;

	builder_slot(&k->b, GS_SLOT_SYMBOL, 0, "init_task", "");
	builder_slot(&k->b, GS_SLOT_SYMBOL, 0, "runqueues", "");
	builder_slot(&k->b, GS_SLOT_SYMBOL, 0, "weak", "")->flags = GS_SLOT_F_OPTIONAL;
	resolve_all(k);
	assert_int_equal(k->queries, 3);
	assert_int_equal(k->slots[0], UINT64_C(0xffffffff82a14000));
	assert_int_equal(k->slots[1], 0x2b0c0 + 0x1000);
	assert_int_equal(k->slots[2], 0);
}

static void typedefs_of_anonymous_structs_are_roots(void **state)
{
	struct kernel *k = *state;
	int anonymous = btf__add_struct(k->btf, NULL, 8);

	add(k, "counter", k->s64, 0, 0);
	btf__add_typedef(k->btf, "atomic64_t", anonymous);

	struct gs_fat_slot *slot = builder_slot(&k->b, GS_SLOT_FIELD_OFFSET, BTF_KIND_TYPEDEF,
						"atomic64_t", ".counter");

	slot->flags = GS_SLOT_F_SCALAR;
	slot->local_size = 8;
	builder_slot(&k->b, GS_SLOT_FIELD_EXISTS, BTF_KIND_TYPEDEF, "atomic64_t", ".counter");
	resolve_all(k);
	assert_int_equal(k->slots[0], 0);
	assert_int_equal(k->slots[1], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(fields_are_found_where_the_kernel_has_them),
		TEST(parameters_have_their_defaults),
		TEST(anonymous_members_are_looked_through),
		TEST(flexible_arrays_have_any_index),
		TEST(bit_fields_are_loaded_and_shifted),
		TEST(a_bit_field_may_have_become_a_plain_field),
		TEST(a_plain_field_that_became_a_bit_field_is_refused),
		TEST(another_size_is_refused),
		TEST(a_number_that_became_a_struct_is_refused),
		TEST(pointers_and_enums_are_numbers),
		TEST(the_first_missing_thing_is_named_and_all_are_counted),
		TEST(optional_things_may_be_absent),
		TEST(types_answer_for_their_size),
		TEST(enumerators_have_the_kernels_values),
		TEST(types_of_one_name_are_all_tried),
		TEST(types_of_one_name_that_differ_are_refused),
		TEST(symbols_are_looked_up_in_one_pass),
		TEST(typedefs_of_anonymous_structs_are_roots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
