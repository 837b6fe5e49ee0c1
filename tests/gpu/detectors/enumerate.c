// SPDX-License-Identifier: Apache-2.0
// The same processes as walk.c, through the tree of their numbers, by all threads of a block.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

static struct xa_gathered pids;

DETECTOR(enumerate, .description = "the tree of process numbers, gone through by one block",
	 .threads = 1024, .budget = 64 << 20, .output = 8 << 20)
{
	xa_gather(&init_pid_ns.idr.idr_rt, &pids);

	u64 end = share_begin(pids.count, thread_index() + 1, thread_count());

	for (u64 i = share_begin(pids.count, thread_index(), thread_count()); i < end; i++) {
		const struct pid *pid = (const struct pid *)pids.entries[i % XA_GATHER_ENTRIES];
		int nr = (int)pids.indices[i % XA_GATHER_ENTRIES];
		const struct hlist_node *link = pid_first(pid, PIDTYPE_TGID);
		bool taken_anew = pid_nr(pid) != nr;

		// Threads have numbers, too.
		if (!link)
			continue;

		const struct task_struct *p = pid_link_task(link, PIDTYPE_TGID);
		// All that is read of the task is read before it is judged: at the same time.
		char comm[TASK_COMM_LEN] __attribute__((aligned(8)));

		__builtin_memcpy(comm, p->comm, sizeof(comm));

		char state = task_state_to_char(p);
		int tgid = p->pid;

		// Given back, or taken by another one, since its slot was read.
		if (taken_anew || p->thread_pid != pid)
			continue;
		row("pid=%d comm=%s state=%c", tgid, comm, state);
	}
	if (!thread_index() && (pids.cut || pids.bad))
		finding(WARNING, "the tree is damaged or too large: nodes=%llu cut=%llu", pids.bad,
			pids.cut);
}
