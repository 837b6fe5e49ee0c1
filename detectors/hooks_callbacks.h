/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of the detector `hooks`: functions that were registered, to be called when something happens.
 */
#ifndef HOOKS_CALLBACKS_H
#define HOOKS_CALLBACKS_H

#include "hooks_tables.h"

#define LIST_MAX 4096
#define CPUS_MAX 512
#define TIMERS_PENDING_MAX 64U

static void ftrace_functions(void)
{
	const struct ftrace_ops___functions *ops =
		&ftrace_ops_list ? (const struct ftrace_ops___functions *)ftrace_ops_list : NULL;
	const struct ftrace_hash *hash = &direct_functions ? direct_functions : NULL;
	u32 bits = hash ? hash->size_bits : 64;

	for (u32 i = 0; ops && i < LIST_MAX; i++, ops = ops->next) {
		note_member(ops, func, RULE_SHOWN, ftrace_ops);
		if (ops->saved_func != ops->func)
			note_member(ops, saved_func, RULE_SHOWN, ftrace_ops);
	}
	// Trampolines that functions call directly.
	for (u32 i = 0; bits < 12 && i < 1U << bits; i++) {
		struct hlist_node *node = kernel_array_at(hash->buckets, i)->first;

		for (u32 n = 0; node && n < LIST_MAX; n++, node = node->next) {
			const struct ftrace_func_entry *entry =
				container_of(node, struct ftrace_func_entry, hlist);

			note_member(entry, direct, RULE_SHOWN, ftrace_func_entry);
		}
	}
}

static void kprobe(const struct kprobe___functions *kp)
{
	note_member(kp, pre_handler, RULE_SHOWN, kprobe);
	note_member(kp, post_handler, RULE_SHOWN, kprobe);
	if (pre_handler_kretprobe && kp->pre_handler == pre_handler_kretprobe &&
	    bpf_core_type_exists(struct kretprobe)) {
		const struct kretprobe *rp = container_of(kp, struct kretprobe, kp);

		note_member(rp, handler, RULE_SHOWN, kretprobe);
		note_member(rp, entry_handler, RULE_SHOWN, kretprobe);
	}
}

// Several probes of one place are on a list behind one that the kernel has made for them.
static void kprobes(void)
{
	if (!&kprobe_table)
		return;
	for (u32 i = 0; i < KPROBE_TABLE_SIZE; i++) {
		struct hlist_node *node = kernel_array_at(kprobe_table, i)->first;

		for (u32 n = 0; node && n < LIST_MAX; n++, node = node->next) {
			struct kprobe___functions *first =
				container_of(node, struct kprobe___functions, hlist);
			struct kprobe___functions *kp = first;
			bool several = aggr_pre_handler && kp->pre_handler == aggr_pre_handler;

			for (u32 probes = 0; kp && probes < LIST_MAX; probes++) {
				struct list_head *next = several ? kp->list.next : NULL;

				kprobe(kp);
				kp = next ? list_entry(next, struct kprobe___functions, list)
					  : NULL;
				if (kp == first)
					break;
			}
		}
	}
}

struct tracepoint_table {
	u64 ptrs;
	u32 count;
};

static struct tracepoint_table tracepoint_tables[MODULES_MAX + 1];
static u32 tracepoint_table_count;

static void list_tracepoints(void)
{
	struct module *mod;

	tracepoint_table_count = 0;
	if (__start___tracepoints_ptrs) {
		tracepoint_tables[0].ptrs = (u64)__start___tracepoints_ptrs;
		tracepoint_tables[0].count = __stop___tracepoints_ptrs - __start___tracepoints_ptrs;
		tracepoint_table_count++;
	}
	list_for_each_entry (mod, &modules, list) {
		if (tracepoint_table_count == ARRAY_SIZE(tracepoint_tables))
			break;
		if (mod->state != bpf_core_enum_value(enum module_state, MODULE_STATE_LIVE) ||
		    !mod->num_tracepoints)
			continue;
		tracepoint_tables[tracepoint_table_count].ptrs = (u64)mod->tracepoints_ptrs;
		tracepoint_tables[tracepoint_table_count].count = mod->num_tracepoints;
		tracepoint_table_count++;
	}
}

static void tracepoints(void)
{
	list_tracepoints();
	for (u32 table = 0; table < tracepoint_table_count; table++) {
		const int *ptrs = (const int *)tracepoint_tables[table].ptrs;

		for (u32 i = 0; i < min(tracepoint_tables[table].count, 65536U); i++) {
			const struct tracepoint___functions *tp =
				(const struct tracepoint___functions *)tracepoint_at(ptrs, i);
			const struct tracepoint_func *funcs = tp->funcs;

			for (u32 n = 0; funcs && n < 64; n++) {
				const struct tracepoint_func *one = kernel_array_at(funcs, n);

				if (!one->func)
					break;
				note_member(one, func, RULE_SHOWN, tracepoint);
			}
		}
	}
}

#define NF_ARRAYS 4

// The arrays of one namespace: one entry a hook of a protocol.
static void netfilter_array(const struct netns_nf *nf, u32 which, u64 *base, u32 *count)
{
	if (which == 0) {
		*base = (u64)&nf->hooks_ipv4;
		*count = bpf_core_field_size(nf->hooks_ipv4) / 8;
	} else if (which == 1) {
		*base = (u64)&nf->hooks_ipv6;
		*count = bpf_core_field_size(nf->hooks_ipv6) / 8;
	} else if (which == 2 && bpf_core_field_exists(nf->hooks_arp)) {
		*base = (u64)&nf->hooks_arp;
		*count = bpf_core_field_size(nf->hooks_arp) / 8;
	} else if (which == 3 && bpf_core_field_exists(nf->hooks_bridge)) {
		*base = (u64)&nf->hooks_bridge;
		*count = bpf_core_field_size(nf->hooks_bridge) / 8;
	} else {
		*count = 0;
	}
}

// Rows are those of the first namespace: firewalls of containers are many, and alike.
static void netfilter_hooks(void)
{
	const struct net___hooks *net;
	u32 namespaces = 0;

	if (!bpf_core_type_exists(struct nf_hook_entries))
		return;
	list_for_each_entry (net, &net_namespace_list, list) {
		enum rule rule = namespaces ? RULE_KNOWN : RULE_SHOWN;

		if (namespaces++ == NAMESPACES_MAX)
			break;
		for (u32 which = 0; which < NF_ARRAYS; which++) {
			u32 count;
			u64 base;

			netfilter_array(&net->nf, which, &base, &count);
			for (u32 i = 0; i < min(count, 16U); i++) {
				const struct nf_hook_entries *entries =
					((struct nf_hook_entries **)base)[i];
				u32 number = entries ? entries->num_hook_entries : 0;

				for (u32 n = 0; n < min(number, (u32)MAX_HOOK_COUNT); n++) {
					const struct nf_hook_entry *entry =
						kernel_array_at(entries->hooks, n);

					note_member(entry, hook, rule, nf_hook_entry);
				}
			}
		}
	}
}

static void packet_types(void)
{
	for (u32 i = 0; i < PTYPE_HASH_SIZE + 1; i++) {
		struct list_head *head = &ptype_all;
		const struct packet_type *type;

		if (i < PTYPE_HASH_SIZE)
			head = &ptype_base ? kernel_array_at(ptype_base, i) : NULL;
		if (!head)
			continue;
		list_for_each_entry (type, head, list)
			note_member(type, func, RULE_SHOWN, packet_type);
	}
}

// Security modules are part of the kernel.
static void security_hook(const struct security_hook_list *hook)
{
	// A union of functions.
	u64 slot = (u64)hook + bpf_core_field_offset(hook->hook);

	note(slot, *(const u64 *)slot, RULE_KERNEL, AT_security_hook_hook);
}

static void security_hooks(void)
{
	u32 heads = bpf_core_type_exists(struct security_hook_heads)
			    ? bpf_core_type_size(struct security_hook_heads) / 8
			    : 0;
	u32 calls = bpf_core_type_exists(struct lsm_static_calls_table) &&
				    bpf_core_type_exists(struct lsm_static_call)
			    ? bpf_core_type_size(struct lsm_static_calls_table) /
				      max(bpf_core_type_size(struct lsm_static_call), (size_t)1)
			    : 0;

	for (u32 i = 0; &security_hook_heads && i < heads; i++) {
		struct hlist_head *head = (struct hlist_head *)&security_hook_heads;
		struct hlist_node *node = kernel_array_at(head, i)->first;

		for (u32 n = 0; node && n < 64; n++, node = node->next)
			security_hook((const struct security_hook_list *)container_of(
				node, struct security_hook_list___list, list));
	}
	for (u32 i = 0; &static_calls_table && i < min(calls, 8192U); i++) {
		struct lsm_static_call *first = (struct lsm_static_call *)&static_calls_table;
		const struct lsm_static_call *call = kernel_array_at(first, i);

		if (call->hl)
			security_hook(call->hl);
		if (call->hl && call->key)
			note((u64)&call->key->func, (u64)call->key->func, RULE_KERNEL,
			     AT_security_hook_call);
	}
}

#define NOTIFIER_CHAINS 12
#define NOTIFIER_CHAIN(chain)                         \
	chains[count] = &chain ? (u64)chain.head : 0; \
	where[count++] = AT_##chain##_notifier_call

static void notifier_chains(void)
{
	u64 chains[NOTIFIER_CHAINS];
	u32 where[NOTIFIER_CHAINS], count = 0;

	NOTIFIER_CHAIN(panic_notifier_list);
	NOTIFIER_CHAIN(die_chain);
	NOTIFIER_CHAIN(keyboard_notifier_list);
	NOTIFIER_CHAIN(vt_notifier_list);
	NOTIFIER_CHAIN(inet6addr_chain);
	NOTIFIER_CHAIN(netlink_chain);
	NOTIFIER_CHAIN(reboot_notifier_list);
	NOTIFIER_CHAIN(module_notify_list);
	NOTIFIER_CHAIN(inetaddr_chain);
	NOTIFIER_CHAIN(oom_notify_list);
	NOTIFIER_CHAIN(crypto_chain);
	NOTIFIER_CHAIN(netdev_chain);
	for (u32 i = 0; i < NOTIFIER_CHAINS; i++) {
		const struct notifier_block *nb = (const struct notifier_block *)chains[i];

		for (u32 n = 0; nb && n < LIST_MAX; n++, nb = nb->next)
			note((u64)&nb->notifier_call, (u64)nb->notifier_call, RULE_SHOWN, where[i]);
	}
}

static void input_handlers(void)
{
	const struct input_handler *handler;

	if (!&input_handler_list || !bpf_core_type_exists(struct input_handler))
		return;
	list_for_each_entry (handler, &input_handler_list, node) {
		note_member(handler, event, RULE_SHOWN, input_handler);
		note_member(handler, events, RULE_SHOWN, input_handler);
		note_member(handler, filter, RULE_SHOWN, input_handler);
	}
}

static void interrupts(unsigned int cpu)
{
	for (u32 vector = 0; &vector_irq && vector < NR_VECTORS; vector++) {
		const struct irq_desc *desc = per_cpu_ptr(&vector_irq[0], cpu)[vector];
		const struct irqaction *action;

		// Others say that the vector is free, or on its way.
		if ((u64)desc < KERNEL_SPACE_START || (u64)desc > -4096ULL)
			continue;
		note_member(desc, handle_irq, RULE_KNOWN, irq_desc);
		action = desc->action;
		for (u32 n = 0; action && n < 64; n++, action = action->next) {
			note_member(action, handler, RULE_KNOWN, irqaction);
			note_member(action, thread_fn, RULE_KNOWN, irqaction);
		}
	}
}

static void timer(const struct timer_list *timer)
{
	if (delayed_work_timer_fn && timer->function == delayed_work_timer_fn) {
		const struct delayed_work *dwork = container_of(timer, struct delayed_work, timer);

		note_member(&dwork->work, func, RULE_KNOWN, delayed_work);
	} else {
		note_member(timer, function, RULE_KNOWN, timer_list);
	}
}

static void timers(unsigned int cpu)
{
	u32 words = bpf_core_field_size(struct timer_base, pending_map) / 8;

	for (u32 i = 0; &timer_bases && i < NR_TIMER_BASES; i++) {
		const struct timer_base *base =
			kernel_array_at(per_cpu_ptr(&timer_bases[0], cpu), i);

		for (u32 word = 0; word < min(words, 9U); word++) {
			u64 pending = base->pending_map[word];

			for (; pending; pending &= pending - 1) {
				u32 bucket = word * 64 + __builtin_ctzll(pending);
				struct hlist_node *node = base->vectors[bucket].first;

				for (u32 n = 0; node && n < LIST_MAX; n++, node = node->next)
					timer(container_of(node, struct timer_list, entry));
			}
		}
	}
}

static u64 timers_pending[TIMERS_PENDING_MAX];
static u32 timers_pending_count;

static void timer_later(const struct rb_node *node)
{
	if (node && timers_pending_count < TIMERS_PENDING_MAX)
		timers_pending[timers_pending_count++] = (u64)node;
}

static void hrtimers(unsigned int cpu)
{
	const struct hrtimer_cpu_base *base = per_cpu_ptr(&hrtimer_bases, cpu);

	for (u32 i = 0; &hrtimer_bases && i < ARRAY_SIZE(base->clock_base); i++) {
		const struct hrtimer_clock_base *clock = kernel_array_at(base->clock_base, i);

		timers_pending_count = 0;
		// Whatever the type of the member, the root of a tree comes first in it.
		u64 root = (u64)clock + bpf_core_field_offset(clock->active);

		timer_later(*(struct rb_node *const *)root);
		for (u32 n = 0; timers_pending_count && n < LIST_MAX; n++) {
			struct rb_node *node =
				(struct rb_node *)timers_pending[--timers_pending_count];
			const struct hrtimer *timer = container_of(node, struct hrtimer, node);

			note_member(timer, function, RULE_KNOWN, hrtimer);
			timer_later(node->rb_left);
			timer_later(node->rb_right);
		}
	}
}

// What kernel threads were started for, and what those of workqueues are at.
static void kernel_threads(void)
{
	const struct task_struct *p;

	for_each_process (p) {
		const struct kthread *kthread = p->flags & PF_KTHREAD ? to_kthread(p) : NULL;

		if (!kthread)
			continue;
		if (bpf_core_field_exists(kthread->threadfn))
			note_member(kthread, threadfn, RULE_KNOWN, kthread);
		if (p->flags & PF_WQ_WORKER) {
			const struct worker *worker = kthread->data;

			if (worker)
				note_member(worker, current_func, RULE_KNOWN, worker);
		}
	}
}

static void all_callbacks(void)
{
	unsigned int cpu;

	ftrace_functions();
	kprobes();
	tracepoints();
	netfilter_hooks();
	packet_types();
	security_hooks();
	notifier_chains();
	input_handlers();
	kernel_threads();
	for_each_online_cpu (cpu) {
		if (cpu >= CPUS_MAX)
			break;
		interrupts(cpu);
		timers(cpu);
		hrtimers(cpu);
	}
}

#endif
