/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Of the detector `hidden`: sockets of TCP and UDP. A process has them by its open files; /proc/net and ss show those that
 * are in the tables of the protocol. Which port it is bound to is kept in a third place. What listens and is no
 * process's is the kernel's own, or was taken out of somebody's files.
 */
#ifndef HIDDEN_SOCKETS_H
#define HIDDEN_SOCKETS_H

#include "hidden_tasks.h"

enum socket_view {
	/** Connections and listening sockets by address: /proc/net/tcp, /proc/net/udp, ss. */
	SOCKET_TABLE = 1 << 0,
	/** Ports in use. */
	SOCKET_PORT = 1 << 1,
	/** An open file of a process. */
	SOCKET_FILE = 1 << 2,
};

static const char socket_view_names[][VIEW_NAME] = { "table", "ports", "file", "", "", "" };

/** Files of one process that are looked at. */
#define HIDDEN_FILES_MAX (1U << 20)
/** Every so many runs: there are many more files than processes. */
#define SOCKET_RUNS 5

#define SOCKET_IPPROTO_TCP 6
#define SOCKET_IPPROTO_UDP 17
#define SOCKET_SOCK_STREAM 1
#define SOCKET_SOCK_DGRAM 2
#define SOCKET_TCP_CLOSE 7
/** Of listening sockets: buckets, and sockets in one of them. */
#define SOCKET_BUCKETS_MAX (1U << 17)
#define SOCKET_CHAIN_MAX (1U << 14)

struct sock_common___bind {
	/** Of TCP: in the bucket of its port. */
	struct hlist_node skc_bind_node;
} __kernel_type;

struct sock___hidden {
	u16 sk_protocol;
	/** Called when there is something to do for its owner. */
	void *sk_data_ready;
} __kernel_type;

struct socket___file {
	/** NULL: the kernel uses it itself. */
	void *file;
} __kernel_type;

struct file___hidden {
	const void *f_op;
	void *private_data;
} __kernel_type;

struct fdtable___hidden {
	unsigned int max_fds;
	/** A bit for each file. */
	unsigned long *open_fds;
	struct file___hidden **fd;
} __kernel_type;

struct files_struct___hidden {
	struct fdtable___hidden *fdt;
} __kernel_type;

struct task_struct___files {
	struct files_struct___hidden *files;
} __kernel_type;

/** Its address marks files that are sockets. */
extern char socket_file_ops[] __ksym __weak;

/** Sockets of one run. */
SEEN(socket_set, 14);

struct hlist_node___both {
	struct hlist_node___both *next, **pprev;
} __kernel_type;

/** Whether what @p at says leads to it does. */
static inline bool hlist_linked(const void *at)
{
	struct hlist_node___both *const *pprev = ((const struct hlist_node___both *)at)->pprev;

	return pprev && *pprev == at;
}

/** The views that a socket in use must be in; 0: it is in none yet, or of another kind. */
static inline u32 socket_wanted(const struct sock *sk)
{
	const struct sock_common *common = &sk->__sk_common;
	u32 protocol = ((const struct sock___hidden *)sk)->sk_protocol;
	u32 family = common->skc_family, type = sk->sk_type;

	if (family != AF_INET && family != AF_INET6)
		return 0;
	if (protocol == SOCKET_IPPROTO_TCP && type == SOCKET_SOCK_STREAM)
		return common->skc_state != SOCKET_TCP_CLOSE && common->skc_num
			       ? SOCKET_TABLE | SOCKET_PORT
			       : 0;
	if (protocol == SOCKET_IPPROTO_UDP && type == SOCKET_SOCK_DGRAM)
		return common->skc_num ? SOCKET_TABLE : 0;
	return 0;
}

/** Views of it, and how many sockets are in each. */
static inline void look_at_socket(const struct task_struct *p, const struct sock *sk, u32 counts[3])
{
	const struct sock_common *common = &sk->__sk_common;
	u32 wanted = socket_wanted(sk), views = SOCKET_FILE, missing;
	char missing_in[VIEW_NAMES], seen_in[VIEW_NAMES];

	if (!wanted)
		return;
	see(socket_set, sk, SOCKET_FILE);
	if (hlist_linked(&common->skc_node))
		views |= SOCKET_TABLE;
	if (wanted & SOCKET_PORT &&
	    hlist_linked(&((const struct sock_common___bind *)common)->skc_bind_node))
		views |= SOCKET_PORT;
	for (u32 view = 0; view < 3; view++)
		counts[view] += views >> view & 1;
	missing = wanted & ~views;
	// Closed meanwhile.
	if (!missing || (socket_wanted(sk) & missing) != missing)
		return;
	view_names(missing_in, socket_view_names, missing);
	view_names(seen_in, socket_view_names, views);

	// The bytes of the address, as numbers; of IPv6 the port says enough.
	u32 peer = common->skc_family == AF_INET ? common->skc_daddr : 0;
	u32 port = __builtin_bswap16(common->skc_dport);

	alarm(hidden_sockets, (u64)sk | missing, CRITICAL,
	      "socket is hidden: pid=%d comm=%s protocol=%s port=%u peer=%u.%u.%u.%u peer_port=%u state=%u missing_in=%s seen_in=%s",
	      p->pid, p->comm, sk->sk_type == SOCKET_SOCK_STREAM ? "tcp" : "udp", common->skc_num,
	      peer & 255, peer >> 8 & 255, peer >> 16 & 255, peer >> 24, port, common->skc_state,
	      missing_in, seen_in);
}

static __always_inline const struct files_struct___hidden *task_files(const struct task_struct *p)
{
	return ((const struct task_struct___files *)p)->files;
}

static inline void look_at_files(const struct task_struct *p, u32 counts[3])
{
	const struct files_struct___hidden *files = task_files(p);
	const struct fdtable___hidden *fdt = files ? files->fdt : NULL;

	if (!fdt)
		return;

	const unsigned long *open_fds = fdt->open_fds;
	struct file___hidden *const *fd = fdt->fd;
	u32 max_fds = min(fdt->max_fds, HIDDEN_FILES_MAX);

	for (u32 first = 0; first < max_fds; first += 64) {
		for (unsigned long open = open_fds[first / 64]; open; open &= open - 1) {
			const struct file___hidden *file = fd[first + (u32)__builtin_ctzl(open)];

			if (!file || file->f_op != socket_file_ops)
				continue;

			const struct socket *socket = file->private_data;
			const struct sock *sk = socket ? socket->sk : NULL;

			if (sk)
				look_at_socket(p, sk, counts);
		}
	}
}

static inline void look_at_listening(const struct sock *sk, u32 *kernels)
{
	const struct sock_common *common = &sk->__sk_common;
	const struct socket *socket = sk->sk_socket;

	// Closed and used anew, or not yet there.
	if (common->skc_state != TCP_LISTEN || !socket || socket->sk != sk)
		return;
	see(socket_set, sk, SOCKET_TABLE);
	if (seen_views(socket_set, sk) & SOCKET_FILE)
		return;

	bool file = ((const struct socket___file *)socket)->file;

	*kernels += !file;
	alarm(hidden_sockets, (u64)sk | !file, file ? WARNING : INFO,
	      "%s: protocol=tcp port=%u ready=%pS",
	      file ? "socket listens that is in no process's files" : "kernel listens",
	      common->skc_num, ((const struct sock___hidden *)sk)->sk_data_ready);
}

static inline void look_at_table(u32 *kernels)
{
	bool old = bpf_core_field_exists(struct inet_hashinfo___listening, listening_hash);
	u32 n = old ? INET_LHTABLE_SIZE : min(tcp_hashinfo.lhash2_mask, SOCKET_BUCKETS_MAX - 1) + 1;
	const struct inet_listen_hashbucket *table =
		old ? ((const struct inet_hashinfo___listening *)&tcp_hashinfo)->listening_hash
		    : tcp_hashinfo.lhash2;

	for (u32 i = 0; i < n; i++) {
		const struct hlist_nulls_node *node = kernel_array_at(table, i)->nulls_head.first;

		for (u32 j = 0; j < SOCKET_CHAIN_MAX && !is_a_nulls(node); j++, node = node->next)
			look_at_listening((const struct sock *)container_of(
						  node, struct sock_common, skc_nulls_node),
					  kernels);
	}
}

/** Behind look_at_tasks(): of hidden processes, too. */
static inline void look_at_sockets(void)
{
	static u32 runs;
	u32 counts[3] = {}, kernels = 0;

	if (!&socket_file_ops || runs++ % SOCKET_RUNS)
		return;
	seen_clear(socket_set);
	for (u32 i = 0; i < seen_count(tasks); i++) {
		const struct task_struct *p = (const struct task_struct *)seen_at(tasks, i)->object;
		const struct task_struct *leader = p->group_leader;

		// A thread may have files of its own.
		if (task_is_live(p) && (leader == p || task_files(leader) != task_files(p)))
			look_at_files(p, counts);
	}
	// What had no room may be somebody's.
	if (!socket_set.lost)
		look_at_table(&kernels);
	row("sockets=%u table=%u ports=%u kernel=%u", counts[2], counts[0], counts[1], kernels);
	alarms_end(hidden_sockets);
}

#endif
