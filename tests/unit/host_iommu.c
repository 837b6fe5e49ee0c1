// SPDX-License-Identifier: Apache-2.0
// How the IOMMU treats a device, from trees that look like /sys.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/iommu.h"

#define DEVICE "0000:3b:00.0"

static char root[] = "/tmp/gpusentinel-iommu-XXXXXX";

static void make(const char *path)
{
	char command[256];

	snprintf(command, sizeof(command), "mkdir -p %s/sys/%s", root, path);
	assert_int_equal(system(command), 0);
}

static void set_type(const char *type)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/sys/kernel/iommu_groups/7/type", root);

	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fprintf(file, "%s\n", type);
	assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(root));
	make("bus/pci/devices/" DEVICE);
	make("kernel/iommu_groups/7");
	return 0;
}

static int tear_down(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

static void link_group(void)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/" DEVICE "/iommu_group", root);
	assert_int_equal(symlink("../../../../kernel/iommu_groups/7", path), 0);
}

static void without_a_group_it_is_off(void **state)
{
	struct gs_iommu_state iommu;

	(void)state;
	gs_iommu_read(root, DEVICE, &iommu);
	assert_int_equal(iommu.iommu, GS_IOMMU_OFF);
	gs_iommu_read(root, "0000:00:1f.7", &iommu);
	assert_int_equal(iommu.iommu, GS_IOMMU_OFF);
	assert_null(gs_iommu_check(root, DEVICE));
}

static void assert_refused(const char *why)
{
	struct gs_error *err = gs_iommu_check(root, DEVICE);

	assert_non_null(err);
	assert_int_equal(err->code, GS_ERROR_ENGINE);
	assert_non_null(strstr(err->message, DEVICE));
	assert_non_null(strstr(err->message, why));
	assert_non_null(strstr(err->message, "iommu.passthrough=1"));
	gs_error_destroy(err);
}

static void a_group_has_a_type(void **state)
{
	static const char *const types[] = { "DMA", "DMA-FQ", "blocked", "unmanaged" };
	struct gs_iommu_state iommu;

	(void)state;
	link_group();
	gs_iommu_read(root, DEVICE, &iommu);
	assert_int_equal(iommu.iommu, GS_IOMMU_UNKNOWN);
	assert_refused("cannot be read");
	set_type("identity");
	gs_iommu_read(root, DEVICE, &iommu);
	assert_int_equal(iommu.iommu, GS_IOMMU_PASSTHROUGH);
	assert_null(gs_iommu_check(root, DEVICE));
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		set_type(types[i]);
		gs_iommu_read(root, DEVICE, &iommu);
		assert_int_equal(iommu.iommu, GS_IOMMU_TRANSLATES);
		assert_string_equal(iommu.type, types[i]);
		assert_refused(types[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_group_it_is_off),
		cmocka_unit_test(a_group_has_a_type),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
