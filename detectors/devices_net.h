/* SPDX-License-Identifier: Apache-2.0 */
// Network devices of all namespaces, with the counters that /proc/net/dev shows.
#ifndef DETECTORS_DEVICES_NET_H
#define DETECTORS_DEVICES_NET_H

#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#define NET_DEVICES_MAX 65536
#define NET_NAMESPACES_MAX 4096

struct net_counters {
	u64 rx_packets, tx_packets, rx_bytes, tx_bytes;
	u64 rx_errors, tx_errors, rx_dropped, tx_dropped, multicast;
	// False if the driver keeps some of them where only it knows.
	bool complete;
};

// Counters of each CPU are 64 bits wide: plain ones, and since v6.0 wrapped in a struct. Their order has never changed.
enum { LSTATS_PACKETS, LSTATS_BYTES };
enum { TSTATS_RX_PACKETS, TSTATS_RX_BYTES, TSTATS_TX_PACKETS, TSTATS_TX_BYTES };

static u64 sum_counter(const void *counters, unsigned int word)
{
	u64 sum = 0;
	unsigned int cpu;

	for_each_possible_cpu (cpu)
		sum += per_cpu_ptr((const u64 *)counters, cpu)[word];
	return sum;
}

static void add_tstats(struct net_counters *c, const void *tstats)
{
	if (!tstats)
		return;
	c->rx_packets += sum_counter(tstats, TSTATS_RX_PACKETS);
	c->rx_bytes += sum_counter(tstats, TSTATS_RX_BYTES);
	c->tx_packets += sum_counter(tstats, TSTATS_TX_PACKETS);
	c->tx_bytes += sum_counter(tstats, TSTATS_TX_BYTES);
}

static void add_core_stats(struct net_counters *c, const struct net_device *dev)
{
	const struct net_device___dropped *old = (const struct net_device___dropped *)dev;
	unsigned int cpu;

	if (bpf_core_type_exists(struct net_device_core_stats)) {
		const struct net_device_core_stats *core =
			((const struct net_device___core_stats *)dev)->core_stats;

		if (!core)
			return;
		for_each_possible_cpu (cpu) {
			c->rx_dropped += per_cpu_ptr(core, cpu)->rx_dropped;
			c->tx_dropped += per_cpu_ptr(core, cpu)->tx_dropped;
		}
	} else if (bpf_core_field_exists(old->rx_dropped)) {
		c->rx_dropped += atomic_long_read(&old->rx_dropped);
		c->tx_dropped += atomic_long_read(&old->tx_dropped);
	}
}

// net/core/dev.c, dev_get_stats()
static void read_counters(struct net_counters *c, const struct net_device *dev)
{
	const struct net_device_ops *ops = dev->netdev_ops;
	const struct net_device_stats *stats = &dev->stats;
	const char *get64 = ops->ndo_get_stats64;
	const void *percpu = dev->tstats;

	*c = (struct net_counters){
		.rx_packets = stats->rx_packets,
		.tx_packets = stats->tx_packets,
		.rx_bytes = stats->rx_bytes,
		.tx_bytes = stats->tx_bytes,
		.rx_errors = stats->rx_errors,
		.tx_errors = stats->tx_errors,
		.rx_dropped = stats->rx_dropped,
		.tx_dropped = stats->tx_dropped,
		.multicast = stats->multicast,
		.complete = true,
	};
	if (get64 && get64 == loopback_get_stats64) {
		// What it sends it receives.
		c->rx_packets = c->tx_packets = percpu ? sum_counter(percpu, LSTATS_PACKETS) : 0;
		c->rx_bytes = c->tx_bytes = percpu ? sum_counter(percpu, LSTATS_BYTES) : 0;
	} else if (get64 && get64 == dev_get_tstats64) {
		add_tstats(c, percpu);
	} else if (get64 || ops->ndo_get_stats) {
		c->complete = false;
	} else if (bpf_core_type_exists(enum netdev_stat_type)) {
		unsigned int type = ((const struct net_device___stat_type *)dev)->pcpu_stat_type;

		if (type == bpf_core_enum_value(enum netdev_stat_type, NETDEV_PCPU_STAT_TSTATS))
			add_tstats(c, percpu);
		else
			c->complete = type != bpf_core_enum_value(enum netdev_stat_type,
								  NETDEV_PCPU_STAT_DSTATS);
	}
	add_core_stats(c, dev);
}

// include/uapi/linux/if.h, IF_OPER_*
static const char operstates[][16] = {
	"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up",
};

static void hardware_address(char *text, const struct net_device *dev)
{
	static const char digits[] = "0123456789abcdef";
	unsigned int len = min(dev->addr_len, (unsigned char)MAX_ADDR_LEN), at = 0;
	const unsigned char *addr = dev->dev_addr;

	for (unsigned int i = 0; i < len; i++) {
		unsigned char byte = addr[i];

		if (i)
			text[at++] = ':';
		text[at++] = digits[byte >> 4];
		text[at++] = digits[byte & 15];
	}
	text[at] = 0;
}

static void show_net_device(const struct net_device *dev, u32 netns)
{
	unsigned int operstate =
		*(const u8 *)((unsigned long)dev + bpf_core_field_offset(dev->operstate));
	unsigned int nocarrier =
		bpf_core_enum_value(enum netdev_state_t, __LINK_STATE_NOCARRIER) & 63;
	char address[3 * MAX_ADDR_LEN + 1];
	struct net_counters c;

	read_counters(&c, dev);
	hardware_address(address, dev);
	row("kind=%s name=%s ifindex=%d netns=%u up=%d carrier=%d operstate=%s mtu=%u address=%s rx_bytes=%llu "
	    "rx_packets=%llu rx_errors=%llu rx_dropped=%llu multicast=%llu tx_bytes=%llu tx_packets=%llu "
	    "tx_errors=%llu tx_dropped=%llu complete=%d",
	    "net", dev->name, dev->ifindex, netns, !!(dev->flags & IFF_UP),
	    !((dev->state >> nocarrier) & 1),
	    operstates[operstate < sizeof(operstates) / sizeof(operstates[0]) ? operstate : 0],
	    dev->mtu, address, c.rx_bytes, c.rx_packets, c.rx_errors, c.rx_dropped, c.multicast,
	    c.tx_bytes, c.tx_packets, c.tx_errors, c.tx_dropped, c.complete);
}

static void show_net_devices(void)
{
	unsigned int devices = 0, namespaces = 0;
	struct net *net;

	list_for_each_entry (net, &net_namespace_list, list) {
		struct net___devices *of = (struct net___devices *)net;
		struct net_device *dev;

		if (++namespaces > NET_NAMESPACES_MAX)
			break;
		list_for_each_entry (dev, &of->dev_base_head, dev_list) {
			if (++devices > NET_DEVICES_MAX)
				return;
			show_net_device(dev, net->ns.inum);
		}
	}
}

#endif
