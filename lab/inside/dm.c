// SPDX-License-Identifier: Apache-2.0
/*
 * What the faults want of dmsetup(8), which would bring libraries along.
 *	dm create NAME 'START SECTORS TARGET ARGUMENTS'		prints the device
 *	dm table NAME 'START SECTORS TARGET ARGUMENTS'		another table for it, while it is in use
 *	dm suspend NAME | resume NAME | remove NAME
 */
#include "box.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static struct {
	struct dm_ioctl head;
	struct dm_target_spec target;
	char arguments[512];
} request;

static int dm(unsigned long command, const char *name, unsigned int flags)
{
	static int control = -1;

	if (control < 0)
		control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	request.head.version[0] = DM_VERSION_MAJOR;
	request.head.data_size = sizeof(request);
	request.head.data_start = sizeof(request.head);
	request.head.flags = flags;
	snprintf(request.head.name, sizeof(request.head.name), "%s", name);
	if (control >= 0 && ioctl(control, command, &request) == 0)
		return 0;
	perror(name);
	return -1;
}

// Without @flags the device takes the table that was loaded last and goes on.
static int suspend(const char *name, unsigned int flags)
{
	memset(&request, 0, sizeof(request));
	return dm(DM_DEV_SUSPEND, name, flags);
}

static int load(const char *name, const char *table)
{
	int end = 0;

	memset(&request, 0, sizeof(request));
	if (sscanf(table, "%" SCNu64 " %" SCNu64 " %15s %n",
		   (uint64_t *)&request.target.sector_start, (uint64_t *)&request.target.length,
		   request.target.target_type, &end) != 3 ||
	    strlen(table + end) >= sizeof(request.arguments)) {
		fprintf(stderr, "dm: \"%s\" is no table\n", table);
		return -1;
	}
	strcpy(request.arguments, table + end);
	request.head.target_count = 1;
	return dm(DM_TABLE_LOAD, name, 0);
}

static int create(const char *name, const char *table)
{
	memset(&request, 0, sizeof(request));
	if (dm(DM_DEV_CREATE, name, 0) < 0)
		return -1;
	unsigned int number = minor(request.head.dev);

	if (load(name, table) < 0 || suspend(name, 0) < 0) {
		memset(&request, 0, sizeof(request));
		dm(DM_DEV_REMOVE, name, 0);
		return -1;
	}
	printf("/dev/dm-%u\n", number);
	return 0;
}

int dm_main(int argc, char **argv)
{
	const char *command = argc > 2 ? argv[1] : "", *name = argc > 2 ? argv[2] : "";
	// Requests in flight stay where they are, and file systems know nothing of it.
	const unsigned int now = DM_SUSPEND_FLAG | DM_NOFLUSH_FLAG | DM_SKIP_LOCKFS_FLAG;

	if (argc == 4 && strcmp(command, "create") == 0)
		return create(name, argv[3]) < 0;
	if (argc == 4 && strcmp(command, "table") == 0)
		return suspend(name, now) < 0 || load(name, argv[3]) < 0 || suspend(name, 0) < 0;
	if (argc == 3 && strcmp(command, "suspend") == 0)
		return suspend(name, now) < 0;
	if (argc == 3 && strcmp(command, "resume") == 0)
		return suspend(name, 0) < 0;
	if (argc == 3 && strcmp(command, "remove") == 0) {
		memset(&request, 0, sizeof(request));
		return dm(DM_DEV_REMOVE, name, 0) < 0;
	}
	fprintf(stderr, "usage: dm create|table NAME TABLE, dm suspend|resume|remove NAME\n");
	return 2;
}
