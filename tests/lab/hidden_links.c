// SPDX-License-Identifier: Apache-2.0
// Where hidden.py finds what it takes off lists from outside.
#include "../../detectors/hidden_modules.h"
#include "../../detectors/hidden_sockets.h"

static bool is_named(const char *name, const char *wanted)
{
	u32 i = 0;

	while (i < TASK_COMM_LEN - 1 && wanted[i] && name[i] == wanted[i])
		i++;
	return !wanted[i] && !name[i];
}

static void show_list(const char *what, const void *at)
{
	const struct list_head___both *node = at;

	row("what=%s at=0x%llx next=0x%llx prev=0x%llx", what, (u64)node, (u64)node->next,
	    (u64)node->prev);
}

static void show_hlist(const char *what, const void *at)
{
	const struct hlist_node___both *node = at;

	row("what=%s at=0x%llx next=0x%llx pprev=0x%llx", what, (u64)node, (u64)node->next,
	    (u64)node->pprev);
}

static void show_sockets(const struct task_struct *p)
{
	const struct fdtable___hidden *fdt = ((const struct task_struct___files *)p)->files->fdt;

	for (u32 i = 0; i < min(fdt->max_fds, 64U); i++) {
		const struct file___hidden *file = fdt->fd[i];

		if (!file || file->f_op != socket_file_ops)
			continue;

		const struct sock *sk = ((const struct socket *)file->private_data)->sk;

		if (socket_wanted(sk) & SOCKET_PORT) {
			show_hlist("table", &sk->__sk_common.skc_node);
			show_hlist("ports",
				   &((const struct sock_common___bind *)sk)->skc_bind_node);
			row("what=%s at=0x%llx fd=%u open_fds=0x%lx", "file", (u64)fdt->open_fds, i,
			    fdt->open_fds[0]);
		}
	}
}

static const struct list_head *kobject_entry(const struct module *mod)
{
	return &((const struct module_kobject___mod *)&mod->mkobj)->kobj.entry;
}

// All that leads to it.
static void show_module(const struct module *mod)
{
	const struct rb_node___tree *node;
	u32 which = mod_tree_which();

	show_list("module-list", &mod->list);
	show_list("module-kobject", kobject_entry(mod));
	show_list("module-bugs", &((const struct module___bugs *)mod)->bug_list);
	for (node = mod_tree_first(which); node; node = rb_next(node)) {
		const struct mod_tree_node *in = mod_tree_entry(node, which);

		if (in->mod == mod)
			row("what=%s at=0x%llx", "module-tree", (u64)&in->mod);
	}
}

DETECTOR(hidden_links)
{
	const struct task_struct *p;
	const struct module *mod;

	for_each_process (p) {
		char comm[TASK_COMM_LEN];

		__builtin_memcpy(comm, p->comm, sizeof(comm));
		if (is_named(comm, "proc-00001"))
			show_list("sibling", &task_views(p)->sibling);
		if (is_named(comm, "httpd"))
			show_sockets(p);
	}
	list_for_each_entry (mod, &modules, list) {
		char name[TASK_COMM_LEN];

		__builtin_memcpy(name, mod->name, sizeof(name));
		if (is_named(name, "loop"))
			show_list("kobject", kobject_entry(mod));
		if (is_named(name, "lab_rootkit"))
			show_module(mod);
	}
}
