// SPDX-License-Identifier: Apache-2.0
// seed guest DIRECTORY TARGET NAME [DETECTOR...]: seeds out of a guest, and what the detectors write there.
// seed detectors DIRECTORY DETECTOR...: seeds out of fat detectors alone.
// seed core DIRECTORY CORE NAME: small cores out of one in makedumpfile's flattened format.
#include "seed.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <gpusentinel/kernel_info.h>

static const char *directory;

void seed_add(struct seed *seed, const void *bytes, size_t size)
{
	seed->bytes = realloc(seed->bytes, seed->size + size + 1);
	if (!seed->bytes)
		errx(1, "no memory");
	if (size)
		memcpy(seed->bytes + seed->size, bytes, size);
	seed->size += size;
}

static void write_file(const char *path, const struct seed *seed)
{
	FILE *file = fopen(path, "we");

	if (!file || fwrite(seed->bytes, 1, seed->size, file) != seed->size || fclose(file))
		err(1, "%s", path);
}

void seed_save(struct seed *seed, const char *target, const char *name, const char *what)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", directory, target);
	mkdir(path, 0777);
	snprintf(path, sizeof(path), "%s/%s/%s-%s", directory, target, name, what);
	write_file(path, seed);
	free(seed->bytes);
	*seed = (struct seed){};
}

void seed_check(struct gs_error *error)
{
	if (error)
		errx(1, "%s", error->message);
}

static void take_guest(const char *spec, const char *name, char **detectors, int count)
{
	struct gs_target_options options = { .size = sizeof(options) };
	struct gs_target *target;
	struct gs_kernel *kernel;

	seed_check(gs_target_open(spec, &options, &target));
	seed_check(gs_kernel_open(target, NULL, &kernel));
	seed_memory(kernel, name);
	seed_kallsyms(kernel, name);
	seed_types(kernel, name);
	for (int i = 0; i < count; i++)
		seed_detector(detectors[i], kernel, name);
	gs_kernel_close(kernel);
	gs_target_close(target);
}

int main(int argc, char **argv)
{
	if (argc > 2)
		directory = argv[2];
	if (argc > 4 && strcmp(argv[1], "guest") == 0) {
		take_guest(argv[3], argv[4], argv + 5, argc - 5);
	} else if (argc > 2 && strcmp(argv[1], "detectors") == 0) {
		for (int i = 3; i < argc; i++)
			seed_detector(argv[i], NULL, "");
	} else if (argc == 5 && strcmp(argv[1], "core") == 0) {
		seed_core(argv[3], argv[4]);
	} else {
		fprintf(stderr, "usage: seed guest DIRECTORY TARGET NAME [DETECTOR...]\n"
				"       seed detectors DIRECTORY DETECTOR...\n"
				"       seed core DIRECTORY CORE NAME\n");
		return 2;
	}
	return 0;
}
