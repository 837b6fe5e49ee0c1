// SPDX-License-Identifier: Apache-2.0
// Sockets of TCP, UDP and Unix: who talks to whom, who listens, what waits.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#include "sockets_address.h"

#define NAMESPACES_MAX 4096
// In one bucket of a table.
#define CHAIN_MAX 65536
// Heads of buckets that are read at once.
#define HEADS 8U

// /proc shows a connection that waits for its last handshake as SYN_RECV.
static const char states[][16] = {
	"unknown", "established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait",
	"close",   "close_wait",  "last_ack", "listen",	  "closing",   "syn_recv",
};

static const char *state_name(unsigned int state)
{
	return states[state < sizeof(states) / sizeof(states[0]) ? state : 0];
}

// What /proc shows of a socket beside its addresses.
struct queues {
	s32 rx, tx;
	u32 uid;
	u64 inode;
};

// net/ipv4/tcp_ipv4.c, tcp4_seq_show()
static void tcp_queues(struct queues *q, const struct sock_common *skc)
{
	const struct sock *sk = (const struct sock *)skc;
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	unsigned int state = skc->skc_state;

	// Neither of these two is a socket.
	if (state == TCP_TIME_WAIT)
		return;
	if (state == TCP_NEW_SYN_RECV) {
		const struct sock *listener = skc->skc_listener;

		q->uid = listener ? sock_i_uid(listener) : 0;
		return;
	}
	// The reader may be ahead by a FIN.
	q->rx = state == TCP_LISTEN ? (s32)sk->sk_ack_backlog : (s32)(tp->rcv_nxt - tp->copied_seq);
	q->tx = (s32)(tp->write_seq - tp->snd_una);
	q->uid = sock_i_uid(sk);
	q->inode = sock_i_ino(sk);
}

// net/ipv4/udp.c, udp4_format_sock()
static void udp_queues(struct queues *q, const struct sock *sk)
{
	q->rx = atomic_read(&sk->sk_backlog.rmem_alloc) -
		((const struct udp_sock *)sk)->forward_deficit;
	q->tx = refcount_read(&sk->sk_wmem_alloc) - 1;
	q->uid = sock_i_uid(sk);
	q->inode = sock_i_ino(sk);
}

static void show_inet(bool tcp, const struct sock_common *skc)
{
	bool v6 = skc->skc_family == AF_INET6;
	struct net *net = skc->skc_net.net;
	struct address local, remote;
	struct queues q = {};

	if (tcp)
		tcp_queues(&q, skc);
	else
		udp_queues(&q, (const struct sock *)skc);
	for (int i = 0; i < 2; i++) {
		struct address *a = i ? &remote : &local;
		u16 port = i ? ntohs(skc->skc_dport) : skc->skc_num;

		if (v6)
			address_v6(a,
				   i ? skc->skc_v6_daddr.in6_u.u6_addr32
				     : skc->skc_v6_rcv_saddr.in6_u.u6_addr32,
				   port);
		else
			address_v4(a, i ? skc->skc_daddr : skc->skc_rcv_saddr, port);
	}
	row("proto=%s local=%s remote=%s state=%s rx_queue=%u tx_queue=%u uid=%u inode=%llu netns=%u",
	    tcp ? (v6 ? "tcp6" : "tcp") : (v6 ? "udp6" : "udp"), local.text, remote.text,
	    state_name(skc->skc_state), (u32)max(q.rx, 0), (u32)max(q.tx, 0), q.uid, q.inode,
	    net->ns.inum);
}

static const char *unix_type(unsigned int type)
{
	switch (type) {
	case 1:
		return "stream";
	case 2:
		return "dgram";
	case 5:
		return "seqpacket";
	}
	return "unknown";
}

// net/unix/af_unix.c, unix_seq_show(); "@" stands for zeros of names that are no files.
static void show_unix(const struct sock *sk)
{
	const struct unix_address *addr = ((const struct unix_sock *)sk)->addr;
	unsigned int state = sk->__sk_common.skc_state;
	const char *what;
	char path[UNIX_PATH_MAX + 1];
	unsigned int len = 0;

	if (state == TCP_LISTEN)
		what = "listen";
	else if (state == TCP_ESTABLISHED)
		what = sk->sk_socket ? "connected" : "connecting";
	else
		what = sk->sk_socket ? "unconnected" : "disconnecting";
	if (addr) {
		s32 bytes = addr->len - 2;

		__builtin_memcpy(path, addr->name[0].sun_path, UNIX_PATH_MAX);
		len = bytes < 0 ? 0 : min((u32)bytes, (u32)UNIX_PATH_MAX);
		if (len && path[0])
			len--;
		for (unsigned int i = 0; i < len; i++) {
			if (!path[i])
				path[i] = '@';
		}
	}
	path[len] = 0;
	row("proto=%s type=%s state=%s refcount=%d backlog=%u inode=%llu netns=%u path=%s", "unix",
	    unix_type(sk->sk_type), what, refcount_read(&sk->__sk_common.skc_refcnt),
	    state == TCP_LISTEN ? sk->sk_ack_backlog : 0, sock_i_ino(sk),
	    sk->__sk_common.skc_net.net->ns.inum, path);
}

enum kind { TCP, UDP, UNIX };

// Buckets with the head of a chain each; NULL: no table.
struct table {
	enum kind kind;
	const void *buckets;
	u32 count;
	// Bytes from one to the next, and in it to the head.
	u32 stride, head;
};

static void ehash_table(struct table *table, const struct inet_hashinfo *hashinfo)
{
	*table = (struct table){ TCP, hashinfo->ehash,
				 min(hashinfo->ehash_mask, EHASH_BUCKETS_MAX - 1) + 1,
				 bpf_core_type_size(struct inet_ehash_bucket),
				 bpf_core_field_offset(struct inet_ehash_bucket, chain) };
}

static void listen_table(struct table *table, const struct inet_hashinfo *hashinfo)
{
	const struct inet_hashinfo___listening *old =
		(const struct inet_hashinfo___listening *)hashinfo;

	*table = (struct table){ TCP, hashinfo->lhash2,
				 min(hashinfo->lhash2_mask, EHASH_BUCKETS_MAX - 1) + 1,
				 bpf_core_type_size(struct inet_listen_hashbucket),
				 bpf_core_field_offset(struct inet_listen_hashbucket, nulls_head) };
	if (bpf_core_field_exists(old->listening_hash)) {
		table->buckets = &old->listening_hash[0];
		table->count = INET_LHTABLE_SIZE;
	}
}

static void udp_slots(struct table *table, const struct udp_table *udp)
{
	*table = (struct table){ UDP, udp->hash, min(udp->mask, EHASH_BUCKETS_MAX - 1) + 1,
				 bpf_core_type_size(struct udp_hslot),
				 bpf_core_field_offset(struct udp_hslot, head) };
}

static void unix_buckets(struct table *table, const void *buckets)
{
	*table = (struct table){ UNIX, buckets, UNIX_HASH_SIZE, sizeof(u64), 0 };
}

// Those of the system, and those that a namespace has for itself.
enum { LISTEN_TABLE, EHASH_TABLE, UDP_TABLE, UNIX_TABLE, TABLES };

static void system_table(struct table *table, unsigned int which)
{
	if (which == LISTEN_TABLE)
		listen_table(table, &tcp_hashinfo);
	else if (which == EHASH_TABLE)
		ehash_table(table, &tcp_hashinfo);
	else if (which == UDP_TABLE)
		udp_slots(table, &udp_table);
	else if (&unix_socket_table)
		unix_buckets(table, &unix_socket_table[0]);
}

static void namespace_table(struct table *table, const struct net *net, unsigned int which)
{
	if (which == EHASH_TABLE && bpf_core_field_exists(net->ipv4.tcp_death_row.hashinfo)) {
		const struct inet_hashinfo *hashinfo = net->ipv4.tcp_death_row.hashinfo;

		if (hashinfo && hashinfo != &tcp_hashinfo)
			ehash_table(table, hashinfo);
	} else if (which == UDP_TABLE && bpf_core_field_exists(net->ipv4.udp_table)) {
		const struct udp_table *udp = net->ipv4.udp_table;

		if (udp && udp != &udp_table)
			udp_slots(table, udp);
	} else if (which == UNIX_TABLE && bpf_core_field_exists(net->unx.table.buckets)) {
		unix_buckets(table, net->unx.table.buckets);
	}
}

static void show_chain(enum kind kind, const struct hlist_node *node)
{
	// Ends of both kinds of lists are taken for what they are.
	for (unsigned int count = 0; !is_a_nulls(node) && count < CHAIN_MAX; count++) {
		const struct sock_common *skc =
			kind == TCP ? container_of(node, struct sock_common, skc_nulls_node)
				    : container_of(node, struct sock_common, skc_node);

		if (kind == UNIX)
			show_unix((const struct sock *)skc);
		else
			show_inet(kind == TCP, skc);
		node = node->next;
	}
}

// Hundreds of thousands of buckets may be there, nearly all empty.
static void show_table(const struct table *table)
{
	const char *buckets = table->buckets;
	u32 step = table->stride == sizeof(u64) ? HEADS : 1;

	for (u32 i = 0; buckets && i < table->count; i += step) {
		u64 heads[HEADS];

		if (step == HEADS)
			__builtin_memcpy(heads, buckets + i * sizeof(u64), sizeof(heads));
		else
			heads[0] = *(const u64 *)(buckets + (u64)i * table->stride + table->head);
		for (u32 j = 0; j < step; j++) {
			if (!is_a_nulls((void *)heads[j]))
				show_chain(table->kind, (const struct hlist_node *)heads[j]);
		}
	}
}

// Every function is part of its caller in what is made of a detector: this one walks all tables at one place.
DETECTOR(sockets, .description = "sockets of TCP, UDP and Unix", .period_ms = 10000)
{
	struct list_head *node = NULL;

	for (unsigned int count = 0; count <= NAMESPACES_MAX; count++) {
		for (unsigned int which = 0; which < TABLES; which++) {
			struct table table = {};

			if (!node)
				system_table(&table, which);
			else
				namespace_table(&table, list_entry(node, struct net, list), which);
			show_table(&table);
		}
		node = node ? node->next : net_namespace_list.next;
		if (!node || node == &net_namespace_list)
			break;
	}
}
