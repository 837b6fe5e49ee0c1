// SPDX-License-Identifier: Apache-2.0
// library FILE.so...: another program with libgpusentinel: names the detectors of files, and says why there is no target.
#include <stdio.h>

#include <gpusentinel/conditions.h>
#include <gpusentinel/control.h>
#include <gpusentinel/crc32c.h>
#include <gpusentinel/ctx.h>
#include <gpusentinel/engine.h>
#include <gpusentinel/error.h>
#include <gpusentinel/fat.h>
#include <gpusentinel/kernel_info.h>
#include <gpusentinel/mailbox.h>
#include <gpusentinel/map.h>
#include <gpusentinel/record.h>
#include <gpusentinel/request.h>
#include <gpusentinel/target.h>

static int fail(struct gs_error *err)
{
	int code = err->code;

	fprintf(stderr, "library: %s\n", err->message);
	gs_error_destroy(err);
	return code;
}

int main(int argc, char **argv)
{
	struct gs_target *target = NULL;
	struct gs_kernel *kernel = NULL;
	struct gs_engine *engine = NULL;

	for (int i = 1; i < argc; i++) {
		struct gs_fat *fat;
		struct gs_error *err = gs_fat_open(argv[i], &fat);

		if (err)
			return fail(err);
		for (size_t j = 0; j < gs_fat_detector_count(fat); j++) {
			struct gs_detector_info info;

			gs_fat_detector_info(fat, j, &info);
			puts(info.name);
		}
		gs_fat_close(fat);
	}

	// Each layer is linked.
	struct gs_error *err = gs_target_open("core:/dev/null", NULL, &target);

	if (!err)
		err = gs_kernel_open(target, NULL, &kernel);
	if (!err)
		err = gs_engine_create("cpu", kernel, &engine);
	gs_engine_destroy(engine);
	gs_kernel_close(kernel);
	gs_target_close(target);
	return err ? fail(err) : 0;
}
