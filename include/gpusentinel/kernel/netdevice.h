/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Network devices. include/linux/netdevice.h
 */
#ifndef GPUSENTINEL_KERNEL_NETDEVICE_H
#define GPUSENTINEL_KERNEL_NETDEVICE_H

#include <gpusentinel/kernel/base.h>
#include <gpusentinel/kernel/cpu.h>
#include <gpusentinel/kernel/sock.h>

#define IFNAMSIZ 16
#define MAX_ADDR_LEN 32
/** include/uapi/linux/if.h */
#define IFF_UP 1U

enum netdev_state_t {
	__LINK_STATE_NOCARRIER = 2,
};

/** Counters of drivers that have none of their own. */
struct net_device_stats {
	unsigned long rx_packets;
	unsigned long tx_packets;
	unsigned long rx_bytes;
	unsigned long tx_bytes;
	unsigned long rx_errors;
	unsigned long tx_errors;
	unsigned long rx_dropped;
	unsigned long tx_dropped;
	unsigned long multicast;
} __kernel_type;

struct rtnl_link_stats64;

struct net_device_ops {
	/** How counters are read: NULL, or a function. */
	void *ndo_get_stats64;
	void *ndo_get_stats;
} __kernel_type;

/** Counters of each CPU, of which a device has one kind at most. */
struct pcpu_lstats;
struct pcpu_sw_netstats;
struct pcpu_dstats;

enum netdev_stat_type {
	NETDEV_PCPU_STAT_TSTATS = 2,
	NETDEV_PCPU_STAT_DSTATS = 3,
};

/** Packets that the network stack dropped. */
struct net_device_core_stats {
	unsigned long rx_dropped;
	unsigned long tx_dropped;
} __kernel_type;

struct net_device {
	/** Chained by net.dev_base_head. */
	struct list_head dev_list;
	char name[IFNAMSIZ];
	int ifindex;
	/** Bits of enum netdev_state_t. */
	unsigned long state;
	/** IFF_* */
	unsigned int flags;
	/** IF_OPER_*; unsigned char until v6.10, unsigned int since: its first byte says it. */
	unsigned char operstate;
	unsigned int mtu;
	unsigned char addr_len;
	const unsigned char *dev_addr;
	struct net_device_stats stats;
	const struct net_device_ops *netdev_ops;
	/** A pointer to one of three kinds. */
	struct pcpu_sw_netstats *tstats;
} __kernel_type;

/**
 * Since Linux kernel commit 625788b58445 ("net: add per-cpu storage and net->core_stats") (in v5.18), of each CPU.
 * Before that, in the device.
 */
struct net_device___core_stats {
	struct net_device_core_stats *core_stats;
} __kernel_type;

struct net_device___dropped {
	atomic_long_t rx_dropped;
	atomic_long_t tx_dropped;
} __kernel_type;

/**
 * Since Linux kernel commit 34d21de99cea ("net: Move {l,t,d}stats allocation to core and convert veth & vrf") (in v6.7,
 * and stable kernels), the device says which kind of counters it has.
 */
struct net_device___stat_type {
	enum netdev_stat_type pcpu_stat_type : 8;
} __kernel_type;

struct net___devices {
	struct list_head dev_base_head;
} __kernel_type;

/** Functions that read counters which are known. */
extern char loopback_get_stats64[] __ksym __weak;
extern char dev_get_tstats64[] __ksym __weak;

#endif
