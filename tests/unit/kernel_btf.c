// SPDX-License-Identifier: Apache-2.0
#include "kernel/btf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <bpf/btf.h>

#include "kernel_memory.h"

struct ids {
	int int_, u64_, list, task, entity, pid_t_, state, big, flex, loop, plain_union;
};

// struct task { struct list_head tasks; union { int a; struct { u64 b; const u64 c; }; }; struct
// entity se; pid_t pid;
//		 char comm[16]; unsigned f1:3, f2:5; struct task *parent; u64 grid[2][3]; }
static struct btf *make(struct ids *ids)
{
	struct btf *btf = btf__new_empty();

	ids->int_ = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	ids->u64_ = btf__add_int(btf, "u64", 8, 0);
	int char_ = btf__add_int(btf, "char", 1, BTF_INT_CHAR);
	ids->list = btf__add_struct(btf, "list_head", 16);
	int list_ptr = btf__add_ptr(btf, ids->list);
	// The members of list_head cannot follow the pointer to it, so it has none here.
	ids->pid_t_ = btf__add_typedef(btf, "pid_t", ids->int_);
	int const_u64 = btf__add_const(btf, ids->u64_);
	int array16 = btf__add_array(btf, ids->int_, char_, 16);
	int inner3 = btf__add_array(btf, ids->int_, ids->u64_, 3);
	int grid = btf__add_array(btf, ids->int_, inner3, 2);
	ids->entity = btf__add_struct(btf, "entity", 16);
	btf__add_field(btf, "weight", ids->u64_, 0, 0);
	btf__add_field(btf, "runtime", ids->u64_, 64, 0);
	int anonymous_struct = btf__add_struct(btf, NULL, 16);
	btf__add_field(btf, "b", ids->u64_, 0, 0);
	btf__add_field(btf, "c", const_u64, 64, 0);
	ids->plain_union = btf__add_union(btf, NULL, 16);
	btf__add_field(btf, "a", ids->int_, 0, 0);
	btf__add_field(btf, NULL, anonymous_struct, 0, 0);
	// Ids are known before they are added: the pointer to task comes first.
	int task_ptr = btf__add_ptr(btf, btf__type_cnt(btf) + 1);
	ids->task = btf__add_struct(btf, "task", 176);
	btf__add_field(btf, "tasks", ids->list, 0, 0);
	btf__add_field(btf, NULL, ids->plain_union, 128, 0);
	btf__add_field(btf, "se", ids->entity, 256, 0);
	btf__add_field(btf, "pid", ids->pid_t_, 384, 0);
	btf__add_field(btf, "f1", ids->int_, 416, 3);
	btf__add_field(btf, "f2", ids->int_, 419, 5);
	btf__add_field(btf, "comm", array16, 448, 0);
	btf__add_field(btf, "parent", task_ptr, 576, 0);
	btf__add_field(btf, "grid", grid, 640, 0);
	btf__add_field(btf, "list", list_ptr, 1024, 0);
	ids->state = btf__add_enum(btf, "state", 4);
	btf__add_enum_value(btf, "RUNNING", 0);
	btf__add_enum_value(btf, "NEGATIVE", -5);
	ids->big = btf__add_enum64(btf, "big", 8, false);
	btf__add_enum64_value(btf, "HUGE", UINT64_C(0x123456789abcdef0));
	int zero = btf__add_array(btf, ids->int_, ids->u64_, 0);
	ids->flex = btf__add_struct(btf, "flex", 8);
	btf__add_field(btf, "n", ids->u64_, 0, 0);
	btf__add_field(btf, "items", zero, 64, 0);
	// A second struct of the same name, and a typedef that refers to itself.
	btf__add_struct(btf, "task", 4);
	ids->loop = btf__add_typedef(btf, "loop", btf__type_cnt(btf));
	btf__add_fwd(btf, "task", BTF_FWD_STRUCT);
	return btf;
}

static struct types *load(struct ids *ids)
{
	struct btf *btf = make(ids);
	uint32_t size;
	const void *raw = btf__raw_data(btf, &size);
	struct types *types;

	assert_null(types_create(raw, size, &types));
	assert_int_equal(types_count(types), btf__type_cnt(btf));
	btf__free(btf);
	return types;
}

static void finds_all_types_of_a_name(void **state)
{
	struct ids ids;
	struct types *types = load(&ids);
	uint32_t found[4];

	(void)state;
	assert_int_equal(types_find(types, "task", BTF_KIND_MASK(BTF_KIND_STRUCT), found, 4), 2);
	assert_int_equal(found[0], ids.task);
	assert_true(found[1] > found[0]);
	assert_int_equal(types_find(types, "task", 0, found, 1), 3);
	assert_int_equal(types_find(types, "absent", 0, found, 4), 0);
	assert_int_equal(types_find(types, "", 0, found, 4), 0);
	assert_int_equal(types_find_one(types, "pid_t", 0), ids.pid_t_);
	types_destroy(types);
}

static void finds_members_through_anonymous_ones(void **state)
{
	struct ids ids;
	struct types *types = load(&ids);
	struct type_member member;
	const char *name;

	(void)state;
	assert_true(types_find_member(types, ids.task, "c", &member));
	assert_int_equal(member.bit_offset, 128 + 64);
	assert_int_equal(member.bit_size, 64);
	assert_true(types_find_member(types, ids.task, "f2", &member));
	assert_true(member.bitfield);
	assert_int_equal(member.bit_offset, 419);
	assert_int_equal(member.bit_size, 5);
	assert_false(types_find_member(types, ids.task, "weight", &member));
	assert_false(types_find_member(types, ids.task, "", &member));
	assert_false(types_find_member(types, ids.int_, "x", &member));
	assert_true(types_member_at(types, ids.task, 1, &member, &name));
	assert_string_equal(name, "");
	assert_int_equal(member.type_id, ids.plain_union);
	assert_false(types_member_at(types, ids.task, 100, &member, &name));
	types_destroy(types);
}

static void resolves_access_paths(void **state)
{
	static const struct {
		const char *path;
		uint64_t bit_offset, bit_size;
		unsigned int kind;
	} paths[] = {
		{ "", 0, 176 * 8, BTF_KIND_STRUCT },
		{ "[2]", 2 * 176 * 8, 176 * 8, BTF_KIND_STRUCT },
		{ "[1].pid", 176 * 8 + 384, 32, BTF_KIND_INT },
		{ "se.runtime", 256 + 64, 64, BTF_KIND_INT },
		{ "b", 128, 64, BTF_KIND_INT },
		{ "comm[3]", 448 + 24, 8, BTF_KIND_INT },
		{ "comm", 448, 128, BTF_KIND_ARRAY },
		{ "grid[1][2]", 640 + (3 + 2) * 64, 64, BTF_KIND_INT },
		{ "parent", 576, 64, BTF_KIND_PTR },
		{ "parent->se.runtime", 256 + 64, 64, BTF_KIND_INT },
		{ "parent->parent->pid", 384, 32, BTF_KIND_INT },
		{ "f1", 416, 3, BTF_KIND_INT },
	};
	static const char *const bad[] = { "absent", "se.absent",  "comm[16]",
					   "pid[0]", "pid.x",	   "pid->x",
					   "comm[",  "comm[x]",	   "se.",
					   ".",	     "->",	   "[18446744073709551615].pid",
					   "[",	     "se..runtime" };
	struct ids ids;
	struct types *types = load(&ids);
	struct type_location location;

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		assert_null(types_resolve_path(types, ids.task, paths[i].path, &location));
		assert_int_equal(location.bit_offset, paths[i].bit_offset);
		assert_int_equal(location.bit_size, paths[i].bit_size);
		assert_int_equal(location.kind, paths[i].kind);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct gs_error *err = types_resolve_path(types, ids.task, bad[i], &location);

		assert_non_null(err);
		assert_int_equal(err->code, GS_ERROR_DETECTOR);
		gs_error_destroy(err);
	}
	// A flexible array has no end.
	assert_null(types_resolve_path(types, ids.flex, "items[7]", &location));
	assert_int_equal(location.bit_offset, 64 + 7 * 64);
	assert_null(types_resolve_path(types, ids.task, "pid", &location));
	assert_true(location.is_signed);
	assert_int_equal(location.type_id, ids.pid_t_);
	assert_int_equal(location.resolved_id, ids.int_);
	types_destroy(types);
}

static void knows_enumerators_of_both_sizes(void **state)
{
	struct ids ids;
	struct types *types = load(&ids);
	bool is_signed;
	int64_t value;

	(void)state;
	assert_true(types_find_enumerator(types, ids.state, "NEGATIVE", &value, &is_signed));
	assert_int_equal(value, -5);
	assert_true(types_find_enumerator(types, ids.big, "HUGE", &value, NULL));
	assert_int_equal(value, 0x123456789abcdef0);
	assert_false(types_find_enumerator(types, ids.state, "HUGE", &value, NULL));
	assert_false(types_find_enumerator(types, ids.task, "HUGE", &value, NULL));
	assert_true(types_find_any_enumerator(types, "HUGE", &value));
	assert_false(types_find_any_enumerator(types, "ABSENT", &value));
	types_destroy(types);
}

// Everything that reads types, on every type.
static void exercise(const struct types *types)
{
	static const char *const paths[] = { "",	"b",	      "se.runtime",
					     "comm[3]", "grid[1][2]", "parent->parent->pid" };

	for (uint32_t id = 0; id <= types_count(types) + 1; id++) {
		struct type_location location;
		struct type_member member;
		const char *name;
		uint64_t size;
		int64_t value;
		bool is_signed;

		types_name(types, id);
		types_kind(types, id);
		types_resolve(types, id);
		types_sizeof(types, id, &size);
		types_is_signed(types, id, &is_signed);
		types_find_member(types, id, "c", &member);
		for (uint32_t i = 0; i < types_vlen(types, id); i++) {
			types_member_at(types, id, i, &member, &name);
			types_enumerator_at(types, id, i, &name, &value);
		}
		for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
			gs_error_destroy(types_resolve_path(types, id, paths[i], &location));
	}
	types_find_one(types, "task", 0);
}

static void survives_types_that_refer_to_themselves(void **state)
{
	struct ids ids;
	struct types *types = load(&ids);
	uint64_t size;

	(void)state;
	assert_int_equal(types_resolve(types, ids.loop), 0);
	assert_false(types_sizeof(types, ids.loop, &size));
	exercise(types);
	types_destroy(types);

	// An anonymous struct whose 64 anonymous members are itself.
	struct btf *btf = btf__new_empty();
	int self = btf__add_struct(btf, NULL, 8);
	struct type_member member;
	uint32_t raw_size;

	for (int i = 0; i < 64; i++)
		btf__add_field(btf, NULL, self, 0, 0);

	// An array of itself, too.
	btf__add_array(btf, self, self + 1, 2);

	const void *raw = btf__raw_data(btf, &raw_size);

	assert_null(types_create(raw, raw_size, &types));
	assert_false(types_find_member(types, self, "x", &member));
	assert_false(types_sizeof(types, self + 1, &size));
	types_destroy(types);
	btf__free(btf);
}

static void survives_every_changed_byte(void **state)
{
	struct ids ids;
	struct btf *btf = make(&ids);
	uint32_t size;
	const uint8_t *raw = btf__raw_data(btf, &size);
	uint8_t *copy = malloc(size);
	static const uint8_t flips[] = { 0x01, 0x10, 0x80, 0xff };

	(void)state;
	for (uint32_t i = 0; i < size; i++) {
		for (int j = 0; j < 4; j++) {
			struct types *types;

			memcpy(copy, raw, size);
			copy[i] ^= flips[j];

			struct gs_error *err = types_create(copy, size, &types);

			if (err) {
				assert_int_equal(err->code, GS_ERROR_KERNEL);
				gs_error_destroy(err);
				continue;
			}
			exercise(types);
			types_destroy(types);
		}
	}
	free(copy);
	btf__free(btf);
}

static void refuses_every_truncation(void **state)
{
	struct ids ids;
	struct btf *btf = make(&ids);
	uint32_t size;
	const uint8_t *raw = btf__raw_data(btf, &size);

	(void)state;
	for (uint32_t i = 0; i < size; i++) {
		struct types *types;
		struct gs_error *err = types_create(raw, i, &types);

		assert_non_null(err);
		gs_error_destroy(err);
	}
	btf__free(btf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_all_types_of_a_name),
		cmocka_unit_test(finds_members_through_anonymous_ones),
		cmocka_unit_test(resolves_access_paths),
		cmocka_unit_test(knows_enumerators_of_both_sizes),
		cmocka_unit_test(survives_types_that_refer_to_themselves),
		cmocka_unit_test(survives_every_changed_byte),
		cmocka_unit_test(refuses_every_truncation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
