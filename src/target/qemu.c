// SPDX-License-Identifier: Apache-2.0
// qemu: the memory of a running QEMU guest.
//
// QEMU is asked over QMP where RAM lies in the guest's physical address space (info mtree -f), which
// memory backends there are (query-memdev) and where it has mapped each (gpa2hva). /proc/PID/maps then
// says which bytes of which file those addresses are, so that nothing is inferred from sizes or names.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "target/filemem.h"
#include "target/mtree.h"
#include "target/ops.h"
#include "target/procmaps.h"
#include "target/qmp.h"
#include "util/array.h"
#include "util/cleanup.h"
#include "util/parse.h"

enum {
	// Another reader of the socket is done within this time, if it is one of ours.
	QMP_TIMEOUT_MS = 5000,
	BACKENDS_MAX = 4096,
};

#define DEFAULT_LAB "/run/gpusentinel-lab"

// A memory backend of the guest.
struct backend {
	char *id;
	bool share;
	// True once gpa2hva was asked; then the address of the backend's first byte in QEMU.
	bool placed;
	uint64_t address;
	// Index in gs_filemem once opened.
	bool opened;
	uint32_t source;
};

// What QEMU says about itself, gathered in one short connection.
struct guest {
	pid_t pid;
	char *mtree;
	struct gs_mtree_range *ranges;
	size_t range_count;
	struct backend *backends;
	size_t backend_count;
};

static void guest_deinit(struct guest *guest)
{
	for (size_t i = 0; i < guest->backend_count; i++)
		free(guest->backends[i].id);
	free(guest->backends);
	free(guest->ranges);
	free(guest->mtree);
}

static void cleanup_qmp(struct gs_qmp **qmp)
{
	gs_qmp_disconnect(*qmp);
}

static void cleanup_json(struct json_object **object)
{
	json_object_put(*object);
}

static struct gs_error *add_backend(struct guest *guest, struct json_object *item, size_t *capacity)
{
	struct json_object *id, *share;

	// The id is absent for backends that QEMU made by itself and that have no name.
	if (!json_object_object_get_ex(item, "id", &id) ||
	    !json_object_is_type(id, json_type_string))
		return NULL;

	struct backend backend = {
		.id = strdup(json_object_get_string(id)),
		.share = json_object_object_get_ex(item, "share", &share) &&
			 json_object_get_boolean(share),
	};

	if (!backend.id)
		return &gs_enomem;
	if (!gs_array_push(guest->backends, guest->backend_count, *capacity, backend)) {
		free(backend.id);
		return &gs_enomem;
	}
	return NULL;
}

static struct gs_error *ask_backends(struct gs_qmp *qmp, struct guest *guest)
{
	_cleanup_(cleanup_json) struct json_object *list = NULL;
	struct gs_error *err = gs_qmp_execute(qmp, "query-memdev", NULL, &list);
	size_t capacity = 0;

	if (err)
		return err;
	if (!json_object_is_type(list, json_type_array) ||
	    json_object_array_length(list) > BACKENDS_MAX)
		return gs_error_create(GS_ERROR_TARGET, "QEMU answers query-memdev with no list");
	for (size_t i = 0; i < json_object_array_length(list) && !err; i++)
		err = add_backend(guest, json_object_array_get_idx(list, i), &capacity);
	return err;
}

// NULL: the region is no backend but memory of a device (video RAM).
static struct backend *find_backend(const struct guest *guest, const struct gs_mtree_range *range)
{
	// Machine types before pc-4.0 name the region by its QOM path (QEMU commit fa0cb34d2210, in
	// v4.0), later ones by the id alone.
	static const char objects[] = "/objects/";
	const char *name = range->region;
	size_t len = range->region_len;

	if (len > strlen(objects) && memcmp(name, objects, strlen(objects)) == 0) {
		name += strlen(objects);
		len -= strlen(objects);
	}
	for (size_t i = 0; i < guest->backend_count; i++) {
		struct backend *backend = &guest->backends[i];

		if (strlen(backend->id) == len && memcmp(backend->id, name, len) == 0)
			return backend;
	}
	return NULL;
}

// Ask where QEMU has mapped the backend that lies at range.
static struct gs_error *place_backend(struct gs_qmp *qmp, struct backend *backend,
				      const struct gs_mtree_range *range)
{
	_cleanup_free_ char *answer = NULL;
	char command[64];

	snprintf(command, sizeof(command), "gpa2hva 0x%" PRIx64, range->phys);

	struct gs_error *err = gs_qmp_human(qmp, command, &answer);

	if (err)
		return err;

	// "Host virtual address for 0x100000 (ram0) is 0x7f7923fff000"
	const char *is = strstr(answer, ") is 0x");
	const char *number = is ? is + strlen(") is 0x") : NULL;
	uint64_t address;

	if (!number || !gs_parse_hex(&number, &address) || address < range->offset)
		return gs_error_create(GS_ERROR_TARGET, "QEMU answers \"%s\" with \"%s\"", command,
				       answer);
	backend->address = address - range->offset;
	backend->placed = true;
	return NULL;
}

static struct gs_error *ask_guest(const char *path, struct guest *guest)
{
	_cleanup_(cleanup_qmp) struct gs_qmp *qmp = NULL;
	struct gs_error *err = gs_qmp_connect(path, QMP_TIMEOUT_MS, &qmp);

	if (err)
		return err;
	guest->pid = gs_qmp_peer(qmp);
	if (guest->pid <= 0)
		return gs_error_create(
			GS_ERROR_TARGET,
			"QEMU behind %s runs in another PID namespace; run gpusentinel "
			"where QEMU's process can be seen",
			path);
	err = gs_qmp_human(qmp, "info mtree -f", &guest->mtree);
	if (!err)
		err = gs_mtree_parse(guest->mtree, &guest->ranges, &guest->range_count);
	if (!err)
		err = ask_backends(qmp, guest);
	for (size_t i = 0; i < guest->range_count && !err; i++) {
		struct backend *backend = find_backend(guest, &guest->ranges[i]);

		if (backend && !backend->share)
			return gs_error_create(
				GS_ERROR_TARGET,
				"QEMU's memory backend %s is private to it; start QEMU "
				"with share=on",
				backend->id);
		if (backend && !backend->placed)
			err = place_backend(qmp, backend, &guest->ranges[i]);
	}
	return err;
}

static struct gs_error *not_mapped(const struct guest *guest, const struct backend *backend)
{
	return gs_error_create(
		GS_ERROR_TARGET,
		"process %d, which listens on the QMP socket, has not mapped memory "
		"backend %s; let QEMU open the socket itself (-qmp unix:PATH,server,nowait)",
		guest->pid, backend->id);
}

static bool same_inode(const struct gs_vma *a, const struct gs_vma *b)
{
	return a->inode == b->inode && a->major == b->major && a->minor == b->minor;
}

// Offset in the file of what QEMU has at address; the whole length must be the same file in one run,
// though it may be several mappings (mbind() and madvise() split them).
static struct gs_error *file_offset(const struct guest *guest, const struct backend *backend,
				    const struct gs_vmas *vmas, uint64_t address, uint64_t size,
				    uint64_t *ret)
{
	const struct gs_vma *first = gs_vmas_find(vmas, address);

	if (!first)
		return not_mapped(guest, backend);
	if (!first->shared || !first->inode)
		return gs_error_create(GS_ERROR_TARGET,
				       "QEMU's memory backend %s is private to it; start QEMU with "
				       "share=on",
				       backend->id);
	*ret = first->offset + (address - first->begin);
	for (const struct gs_vma *vma = first; size > vma->end - address;) {
		uint64_t offset = vma->offset + (vma->end - vma->begin);
		const struct gs_vma *next = gs_vmas_find(vmas, vma->end);

		size -= vma->end - address;
		address = vma->end;
		if (!next || !next->shared || !same_inode(next, first) || next->offset != offset)
			return not_mapped(guest, backend);
		vma = next;
	}
	return NULL;
}

static struct gs_error *open_backend(const struct guest *guest, struct backend *backend,
				     const struct gs_vma *vma, struct gs_filemem *mem)
{
	char link[64], name[PATH_MAX];
	int fd;
	struct gs_error *err = gs_vma_open(guest->pid, vma, &fd);

	if (err)
		return gs_error_prefix(err, "memory backend %s", backend->id);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);

	ssize_t len = readlink(link, name, sizeof(name) - 1);

	if (len < 0)
		len = 0;
	name[len] = '\0';
	err = gs_filemem_add_source(mem, fd, name, &backend->source);
	if (err)
		return err;

	struct gs_source *source = &mem->sources[backend->source];

	if (source->huge) {
		snprintf(link, sizeof(link), "/proc/%d/pagemap", guest->pid);
		source->pagemap_fd = open(link, O_RDONLY | O_CLOEXEC);
		source->pagemap_address = vma->begin - vma->offset;
		if (source->pagemap_fd < 0)
			return gs_error_errno(GS_ERROR_TARGET, errno,
					      "cannot tell the holes of %s, since %s", name, link);
	}
	backend->opened = true;
	return NULL;
}

static struct gs_error *add_range(const struct guest *guest, const struct gs_mtree_range *range,
				  const struct gs_vmas *vmas, struct gs_filemem *mem)
{
	struct backend *backend = find_backend(guest, range);
	uint64_t address, offset;
	struct gs_error *err;

	if (!backend)
		return NULL;
	if (__builtin_add_overflow(backend->address, range->offset, &address))
		return not_mapped(guest, backend);
	err = file_offset(guest, backend, vmas, address, range->size, &offset);
	if (!err && !backend->opened)
		err = open_backend(guest, backend, gs_vmas_find(vmas, address), mem);
	if (err)
		return err;

	const struct gs_source *source = &mem->sources[backend->source];
	uint64_t end;

	if (__builtin_add_overflow(offset, range->size, &end) || end > source->size)
		return gs_error_create(GS_ERROR_TARGET,
				       "%s has %" PRIu64
				       " bytes, but QEMU uses it beyond; the file was "
				       "truncated",
				       source->name, source->size);
	return gs_ranges_add(&mem->ranges, &(struct gs_range){
						   .phys = range->phys,
						   .size = range->size,
						   .offset = offset,
						   .source = backend->source,
					   });
}

static struct gs_error *open_memory(const struct guest *guest, struct gs_target **ret)
{
	_cleanup_(gs_vmas_deinit) struct gs_vmas vmas = {};
	_cleanup_filemem_ struct gs_filemem *mem = calloc(1, sizeof(*mem));
	struct gs_error *err = mem ? gs_vmas_read(guest->pid, &vmas) : &gs_enomem;

	for (size_t i = 0; i < guest->range_count && !err; i++)
		err = add_range(guest, &guest->ranges[i], &vmas, mem);
	if (err)
		return err;
	if (mem->ranges.count == 0)
		return gs_error_create(
			GS_ERROR_TARGET,
			"QEMU gives the guest no memory backend; start it with -object "
			"memory-backend-memfd,id=ram0,size=SIZE,share=on -machine "
			"memory-backend=ram0");
	return gs_filemem_create(no_cleanup_ptr(mem), ret);
}

static struct gs_error *socket_path(const char *rest, char **ret)
{
	if (strchr(rest, '/')) {
		*ret = strdup(rest);
		return *ret ? NULL : &gs_enomem;
	}
	if (!*rest || strcmp(rest, ".") == 0 || strcmp(rest, "..") == 0)
		return gs_error_create(GS_ERROR_USAGE,
				       "give the name of a guest or the path of a QMP "
				       "socket");

	const char *lab = getenv("GPUSENTINEL_LAB");

	if (!lab || !*lab)
		lab = DEFAULT_LAB;

	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/%s/qmp.sock", lab, rest) < 0) {
		path = NULL;
		return &gs_enomem;
	}
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return gs_error_create(
			GS_ERROR_TARGET,
			"no guest of that name in %s (\"lab/guest list\" shows them); for "
			"another QEMU give qemu:/path/to/qmp.sock",
			lab);
	*ret = no_cleanup_ptr(path);
	return NULL;
}

struct gs_error *gs_qemu_open(const char *rest, const struct gs_target_options *options,
			      struct gs_target **ret)
{
	_cleanup_(guest_deinit) struct guest guest = {};
	_cleanup_free_ char *path = NULL;

	if (gs_target_layout(options))
		return gs_error_create(GS_ERROR_USAGE,
				       "a layout is for raw images (core:FILE); QEMU "
				       "tells its own");

	struct gs_error *err = socket_path(rest, &path);

	if (!err)
		err = ask_guest(path, &guest);
	if (!err)
		err = open_memory(&guest, ret);
	return err;
}
