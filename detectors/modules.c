// SPDX-License-Identifier: Apache-2.0
// The modules that the kernel has in its list, as /proc/modules shows them.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#define TAINT_BITS 64
// Characters of the names of a module's users; what does not fit is shown as "...".
#define USERS_LEN 256U
#define USERS_MAX 256

struct text {
	unsigned int len;
	bool full;
	char text[USERS_LEN];
};

static void text_add(struct text *t, const char *s, unsigned int len)
{
	// Room for the dots is kept.
	if (t->full || t->len + len + sizeof(",...") > USERS_LEN) {
		t->full = true;
		return;
	}
	if (t->len)
		t->text[t->len++] = ',';
	for (unsigned int i = 0; i < len; i++)
		t->text[t->len++] = s[i];
}

static const char *text_end(struct text *t)
{
	if (t->full && t->len + sizeof(",...") <= USERS_LEN) {
		t->text[t->len++] = ',';
		for (unsigned int i = 0; i < 3; i++)
			t->text[t->len++] = '.';
	}
	if (!t->len)
		t->text[t->len++] = '-';
	t->text[t->len] = 0;
	return t->text;
}

// kernel/module/procfs.c, print_unload_info()
static void module_users(struct text *users, struct module *mod)
{
	struct module_use *use;
	unsigned int count = 0;

	users->len = 0;
	users->full = false;
	if (!bpf_core_field_exists(mod->source_list))
		return;
	list_for_each_entry (use, &mod->source_list, source_list) {
		char name[sizeof(mod->name)];

		if (++count > USERS_MAX)
			break;
		text_add(users, name, strscpy(name, use->source->name, sizeof(name)));
	}
	if (mod->init && !mod->exit)
		text_add(users, "[permanent]", sizeof("[permanent]") - 1);
}

static const char *state_name(unsigned int state)
{
	if (state == bpf_core_enum_value(enum module_state, MODULE_STATE_GOING))
		return "Unloading";
	if (state == bpf_core_enum_value(enum module_state, MODULE_STATE_COMING))
		return "Loading";
	return "Live";
}

static void show_module(struct module *mod)
{
	char taints[TAINT_BITS + 1];
	unsigned int len = 0;
	struct text users;
	unsigned long mask = mod->taints;
	u64 base;
	u32 text_size;

	for (unsigned int bit = 0; bit < TAINT_BITS; bit++) {
		if ((mask >> bit) & 1)
			taints[len++] = kernel_array_at(taint_flags, bit)->c_true;
	}
	if (!len)
		taints[len++] = '-';
	taints[len] = 0;
	module_users(&users, mod);
	module_part(mod, MODULE_PART_TEXT, &base, &text_size);
	row("module=%s size=%u refcount=%d state=%s taints=%s used_by=%s base=%llx text_size=%u",
	    mod->name, module_total_size(mod),
	    bpf_core_field_exists(mod->refcnt) ? atomic_read(&mod->refcnt) - MODULE_REF_BASE : 0,
	    state_name(mod->state), taints, text_end(&users), base, text_size);
}

DETECTOR(modules, .description = "loaded modules", .period_ms = 10000)
{
	unsigned int count = 0;
	struct module *mod;

	list_for_each_entry (mod, &modules, list) {
		if (++count > MODULES_MAX)
			break;
		if (mod->state != bpf_core_enum_value(enum module_state, MODULE_STATE_UNFORMED))
			show_module(mod);
	}
}
