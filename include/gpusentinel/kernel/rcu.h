/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Read-copy update: the grace period that goes on, and who it waits for. kernel/rcu/tree.h
 */
#ifndef GPUSENTINEL_KERNEL_RCU_H
#define GPUSENTINEL_KERNEL_RCU_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/cpu.h>
#include <gpusentinel/kernel/sched.h>

/** Of a sequence number: what goes on, 0 if nothing; above it, what has ended. kernel/rcu/rcu.h */
#define RCU_SEQ_STATE_MASK 0x3UL

static __always_inline unsigned long rcu_seq_state(unsigned long seq)
{
	return seq & RCU_SEQ_STATE_MASK;
}

/** CPUs next to each other, or nodes: a leaf has 16 CPUs, or up to 64. */
struct rcu_node {
	/** Who the grace period waits for, and the expedited one: bit N of a leaf is CPU grplo + N. */
	unsigned long qsmask, expmask;
	int grplo, grphi;
	/** Readers that were preempted; those that a grace period waits for begin at these members of the list. */
	struct list_head blkd_tasks;
	struct list_head *gp_tasks, *exp_tasks;
} __kernel_type;

struct rcu_state {
	/** All of them, level by level; leaves are the last. */
	struct rcu_node node[1];
	struct rcu_node *level[4];
	unsigned long gp_seq;
	unsigned long expedited_sequence;
	/** Drives the grace periods. */
	struct task_struct *gp_kthread;
} __kernel_type;

extern struct rcu_state rcu_state __ksym;
extern int rcu_num_nodes __ksym;
extern int rcu_num_lvls __ksym;

/** More leaves than CPUs there are none. */
#define RCU_LEAVES_MAX 1024U
#define RCU_NUM_LVLS_MAX 4

struct rcu_data {
	/** That it has seen. */
	unsigned long gp_seq;
} __kernel_type;

/** Of each CPU. */
extern struct rcu_data rcu_data __ksym;

#define for_each_leaf_node(rnp)                                                         \
	for (u32 __leaf = (rnp = rcu_first_leaf_node(), 0), __leaves = rcu_leaves(rnp); \
	     __leaf < __leaves;                                                         \
	     __leaf++, rnp = (struct rcu_node *)((unsigned long)rnp +                   \
						 bpf_core_type_size(struct rcu_node)))

static __always_inline struct rcu_node *rcu_first_leaf_node(void)
{
	return rcu_state.level[(u32)(rcu_num_lvls - 1) % RCU_NUM_LVLS_MAX];
}

static __always_inline u32 rcu_leaves(const struct rcu_node *first)
{
	u64 before = (unsigned long)first - (unsigned long)rcu_state.node;
	u32 leaves = rcu_num_nodes - before / bpf_core_type_size(struct rcu_node);

	return first ? min(leaves, RCU_LEAVES_MAX) : 0;
}

#endif
