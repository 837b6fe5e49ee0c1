/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The network as far as its health goes: devices and their queues, counters, sockets that listen, connection tracking.
 * include/linux/netdevice.h, include/net/{sock,inet_hashtables,snmp,sch_generic}.h
 *
 * Types are named as views (TYPE___health), since inventories look at others of their members.
 */
#ifndef GPUSENTINEL_KERNEL_NET_H
#define GPUSENTINEL_KERNEL_NET_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/cpu.h>
#include <gpusentinel/kernel/netdevice.h>
#include <gpusentinel/kernel/sock.h>

/** include/uapi/linux/if.h; net_device.flags */
#define IFF_LOOPBACK 0x8U

/** Bits of netdev_queue.state. */
enum netdev_queue_state_t {
	/** The driver takes no more packets. */
	__QUEUE_STATE_DRV_XOFF = 0,
};

/** Of a queueing discipline; each wraps at 32 bits. include/net/gen_stats.h */
struct gnet_stats_queue {
	u32 drops;
} __kernel_type;

/** Queueing discipline. */
struct Qdisc___health {
	struct gnet_stats_queue qstats;
	/** Of each CPU; NULL if it does not count like that. */
	struct gnet_stats_queue *cpu_qstats;
} __kernel_type;

struct netdev_queue {
	/** What packets go through when the device is up. */
	struct Qdisc___health *qdisc;
	/**
	 * How often it was too late. atomic_long_t since v5.17 ("net: annotate accesses to queue->trans_start" and its
	 * neighbours), unsigned long before.
	 */
	unsigned long trans_timeout;
	/** Jiffies when a packet was last given to the driver. */
	unsigned long trans_start;
	/** Bits of enum netdev_queue_state_t. */
	unsigned long state;
} __kernel_type;

static __always_inline unsigned long queue_trans_timeout(const struct netdev_queue *queue)
{
	return *(const unsigned long *)((unsigned long)queue +
					bpf_core_field_offset(queue->trans_timeout));
}

/** More than any card has. */
#define TX_QUEUES_MAX 4096U

/** Counters of drivers that have none of their own. */
struct net_device_stats___health {
	unsigned long rx_errors;
	unsigned long tx_errors;
	unsigned long rx_dropped;
	unsigned long tx_dropped;
} __kernel_type;

/** What the network stack itself drops; of each CPU. */
struct net_device_core_stats___health {
	unsigned long rx_dropped;
	unsigned long tx_dropped;
} __kernel_type;

struct net_device___health {
	/** Chained by net.dev_base_head. */
	struct list_head dev_list;
	char name[16];
	int ifindex;
	/** Bits of enum netdev_state_t. */
	unsigned long state;
	/** IFF_* */
	unsigned int flags;
	unsigned int mtu;
	/** How often the carrier came and went. */
	atomic_t carrier_up_count;
	atomic_t carrier_down_count;
	struct net_device_stats___health stats;
	struct netdev_queue *_tx;
	unsigned int real_num_tx_queues;
} __kernel_type;

/**
 * Since Linux kernel commit 625788b58445 ("net: add per-cpu storage and net->core_stats") (in v5.18), of each CPU, or
 * NULL. Before that, in the device.
 */
struct net_device___core_stats_percpu {
	struct net_device_core_stats___health *core_stats;
} __kernel_type;

struct net_device___core_stats_atomic {
	atomic_long_t rx_dropped;
	atomic_long_t tx_dropped;
} __kernel_type;

/** Counters of one kind, of each CPU. */
struct linux_mib {
	unsigned long mibs[1];
} __kernel_type;

struct udp_mib {
	unsigned long mibs[1];
} __kernel_type;

struct netns_mib {
	struct linux_mib *net_statistics;
	struct udp_mib *udp_statistics;
} __kernel_type;

/*
 * Indices of counters, from enums without a name. Their enumerators are looked up by their own names, but the compiler tells
 * those of several such enums apart by their numbers here: no two may have the same. include/uapi/linux/snmp.h
 */
extern enum {
	LINUX_MIB_LISTENOVERFLOWS = 23,
	LINUX_MIB_LISTENDROPS = 24,
} linux_mib_items;

extern enum {
	UDP_MIB_RCVBUFERRORS = 5,
} udp_mib_items;

/** What parts of the kernel keep of a namespace, each at its number. include/net/netns/generic.h */
struct net_generic {
	void *ptr[0];
} __kernel_type;

/**
 * From where connect() and bind() take a port when none is asked for. Two numbers until Linux kernel commit d9f28735af87
 * ("Use READ/WRITE_ONCE() for IP local_port_range") (in v6.8), one of which the upper half is the last port since.
 */
struct local_ports {
	u32 range;
} __kernel_type;

struct netns_ipv4___ports {
	struct local_ports ip_local_ports;
} __kernel_type;

/** A network namespace. */
struct net___health {
	/** Chains net_namespace_list. */
	struct list_head list;
	struct ns_common ns;
	struct list_head dev_base_head;
	struct netns_mib mib;
	struct net_generic *gen;
	struct netns_ipv4___ports ipv4;
} __kernel_type;

/** Sets the first and the last port of the range. */
static inline void local_port_range(const struct net___health *net, u32 *low, u32 *high)
{
	const u32 *range = (const u32 *)((unsigned long)&net->ipv4.ip_local_ports +
					 bpf_core_field_offset(struct local_ports, range));

	if (bpf_core_field_size(struct local_ports, range) == 2 * sizeof(u32)) {
		*low = range[0];
		*high = range[1];
	} else {
		*low = *range & 0xffff;
		*high = *range >> 16;
	}
}

/** A port of a namespace that TCP sockets have, those in TIME_WAIT as well. include/net/inet_hashtables.h */
struct inet_bind_bucket {
	possible_net_t ib_net;
	unsigned short port;
	struct hlist_node node;
} __kernel_type;

struct inet_bind_hashbucket {
	struct hlist_head chain;
} __kernel_type;

/** Of all namespaces. */
struct inet_hashinfo___ports {
	struct inet_bind_hashbucket *bhash;
	unsigned int bhash_size;
} __kernel_type;

/** Of each CPU: packets on their way up. */
struct softnet_data {
	unsigned int processed;
	/** How often it stopped with work left. */
	unsigned int time_squeeze;
} __kernel_type;

/** Until v6.17; an atomic_t since v6.10, unsigned int before. */
struct softnet_data___dropped {
	unsigned int dropped;
} __kernel_type;

/** Two words in cache lines of their own, since v6.18. */
struct numa_drop_counters {
	atomic_t drops0;
	atomic_t drops1;
} __kernel_type;

struct softnet_data___drop_counters {
	struct numa_drop_counters drop_counters;
} __kernel_type;

extern struct softnet_data softnet_data __ksym;

/** Packets that found no place in the backlog of CPU @p cpu. */
static inline u32 softnet_dropped(unsigned int cpu)
{
	const struct softnet_data *sd = per_cpu_ptr(&softnet_data, cpu);
	const struct softnet_data___dropped *counter = (const struct softnet_data___dropped *)sd;
	const struct softnet_data___drop_counters *counters =
		(const struct softnet_data___drop_counters *)sd;

	if (bpf_core_field_exists(counter->dropped))
		return *(const u32 *)((unsigned long)sd + bpf_core_field_offset(counter->dropped));
	if (bpf_core_field_exists(counters->drop_counters))
		return atomic_read(&counters->drop_counters.drops0) +
		       atomic_read(&counters->drop_counters.drops1);
	return 0;
}

struct file;

struct socket___health {
	struct file *file;
} __kernel_type;

/*
 * Connection tracking is a module as a rule, which comes when it is first needed. Its types are not known, and its symbols are
 * found in it. Since v5.13, what it has of a namespace is found by its number, and the count comes first in it.
 */
struct nf_conntrack_symbols {
	/** nf_conntrack_max and nf_conntrack_net_id, 0 if they are not there. */
	const u32 *max, *net_id;
};

/** Built into the kernel. */
extern u32 nf_conntrack_max __ksym __weak;
extern u32 nf_conntrack_net_id __ksym __weak;

/** Before v5.13. */
struct netns_ct___count {
	atomic_t count;
} __kernel_type;

struct net___ct_count {
	struct netns_ct___count ct;
} __kernel_type;

/** Connections that are tracked in namespace @p net; 0 also if nobody tracks them. */
static inline u32 nf_conntrack_count(const struct net___health *net,
				     const struct nf_conntrack_symbols *symbols)
{
	const struct net___ct_count *old = (const struct net___ct_count *)net;

	if (bpf_core_field_exists(struct netns_ct___count, count))
		return atomic_read(&old->ct.count);
	if (!symbols->net_id)
		return 0;

	const u32 *count = (&net->gen->ptr[0])[*symbols->net_id];

	return count ? *count : 0;
}

#endif
