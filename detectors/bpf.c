// SPDX-License-Identifier: Apache-2.0
// Programs, maps and links of BPF.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#define OBJECTS_MAX 65536
#define TYPE_NAME_LEN 24

// include/uapi/linux/bpf.h: numbers are never given anew.
static const char prog_types[][TYPE_NAME_LEN] = {
	"unspec",
	"socket_filter",
	"kprobe",
	"sched_cls",
	"sched_act",
	"tracepoint",
	"xdp",
	"perf_event",
	"cgroup_skb",
	"cgroup_sock",
	"lwt_in",
	"lwt_out",
	"lwt_xmit",
	"sock_ops",
	"sk_skb",
	"cgroup_device",
	"sk_msg",
	"raw_tracepoint",
	"cgroup_sock_addr",
	"lwt_seg6local",
	"lirc_mode2",
	"sk_reuseport",
	"flow_dissector",
	"cgroup_sysctl",
	"raw_tracepoint_writable",
	"cgroup_sockopt",
	"tracing",
	"struct_ops",
	"ext",
	"lsm",
	"sk_lookup",
	"syscall",
	"netfilter",
};

static const char map_types[][TYPE_NAME_LEN] = {
	"unspec",
	"hash",
	"array",
	"prog_array",
	"perf_event_array",
	"percpu_hash",
	"percpu_array",
	"stack_trace",
	"cgroup_array",
	"lru_hash",
	"lru_percpu_hash",
	"lpm_trie",
	"array_of_maps",
	"hash_of_maps",
	"devmap",
	"sockmap",
	"cpumap",
	"xskmap",
	"sockhash",
	"cgroup_storage",
	"reuseport_sockarray",
	"percpu_cgroup_storage",
	"queue",
	"stack",
	"sk_storage",
	"devmap_hash",
	"struct_ops",
	"ringbuf",
	"inode_storage",
	"task_storage",
	"bloom_filter",
	"user_ringbuf",
	"cgrp_storage",
	"arena",
	"insn_array",
};

static const char link_types[][TYPE_NAME_LEN] = {
	"unspec",	"raw_tracepoint", "tracing",	  "cgroup",	"iter",	     "netns",
	"xdp",		"perf_event",	  "kprobe_multi", "struct_ops", "netfilter", "tcx",
	"uprobe_multi", "netkit",	  "sockmap",
};

static const char unknown_type[TYPE_NAME_LEN] = "unknown";

#define type_name(names, type) \
	((type) < sizeof(names) / sizeof((names)[0]) ? (names)[type] : unknown_type)

static void hex(char *text, const u8 *bytes, unsigned int count)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned int i = 0; i < count; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	text[2 * count] = 0;
}

static void show_prog(const struct bpf_prog *prog)
{
	const struct bpf_prog_aux *aux = prog->aux;
	const char *function = aux->attach_func_name;
	const struct user_struct *user = aux->user;
	u8 tag[BPF_TAG_SIZE];
	char text[2 * BPF_TAG_SIZE + 1];

	__builtin_memcpy(tag, prog->tag, sizeof(tag));
	hex(text, tag, sizeof(tag));
	row("object=%s id=%u type=%s type_number=%u name=%s tag=%s uid=%d loaded_ns=%llu instructions=%u "
	    "jited_bytes=%u maps=%u function=%s",
	    "program", aux->id, type_name(prog_types, prog->type), prog->type, aux->name, text,
	    user ? (int)user->uid.val : -1, aux->load_time, prog->len, prog->jited_len,
	    aux->used_map_cnt, function ? function : "-");
}

static void show_map(const struct bpf_map *map)
{
	row("object=%s id=%u type=%s type_number=%u name=%s key_size=%u value_size=%u max_entries=%u",
	    "map", map->id, type_name(map_types, map->map_type), map->map_type, map->name,
	    map->key_size, map->value_size, map->max_entries);
}

static void show_link(const struct bpf_link *link)
{
	const struct bpf_prog *prog = link->prog;

	row("object=%s id=%u type=%s type_number=%u program=%u", "link", link->id,
	    type_name(link_types, link->type), link->type, prog ? prog->aux->id : 0);
}

DETECTOR(bpf, .description = "programs, maps and links of BPF", .period_ms = 10000)
{
	unsigned int id, count = 0;
	struct bpf_prog *prog;
	struct bpf_map *map;
	struct bpf_link *link;

	if (!&prog_idr || !&map_idr)
		return;
	idr_for_each_entry(&prog_idr, prog, id)
	{
		if (++count > OBJECTS_MAX)
			break;
		show_prog(prog);
	}
	idr_for_each_entry(&map_idr, map, id)
	{
		if (++count > OBJECTS_MAX)
			break;
		show_map(map);
	}
	if (!&link_idr || !bpf_core_type_exists(struct bpf_link))
		return;
	idr_for_each_entry(&link_idr, link, id)
	{
		if (++count > OBJECTS_MAX)
			break;
		show_link(link);
	}
}
