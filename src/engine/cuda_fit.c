// SPDX-License-Identifier: Apache-2.0
// Whether the GPU takes a detector's kernels: all of its blocks at once, beside all other detectors for good.
#include "engine/cuda.h"

// Parts of a processor that are counted.
#define PARTS UINT64_C(1024)

static struct gs_error *ask(struct cuda *cuda, struct CUfunc_st *function, const char *name,
			    unsigned int attribute, int *ret)
{
	return cuda_error(&cuda->api, cuda->api.function_attribute(ret, attribute, function),
			  "%s: the driver does not tell attribute %u of its code", name, attribute);
}

static struct gs_error *check_threads(struct cuda *cuda, struct CUfunc_st *function,
				      const char *name, uint32_t threads)
{
	int max = 0;
	struct gs_error *err = ask(cuda, function, name, CUDA_FUNCTION_MAX_THREADS, &max);

	if (err || (uint32_t)max >= threads)
		return err;
	return gs_error_create(
		GS_ERROR_DETECTOR,
		"%s wants blocks of %u threads; with the registers that its code needs "
		"this GPU takes at most %d",
		name, threads, max);
}

// Which part of the GPU's processors it takes, in PARTS of one.
static struct gs_error *share(struct cuda *cuda, const struct gs_detector *detector, uint64_t *ret)
{
	const struct cuda_detector *mine = detector->code;
	int resident = 0;
	struct gs_error *err = cuda_error(
		&cuda->api, cuda->api.occupancy(&resident, mine->loop, (int)mine->threads, 0),
		"%s: the driver does not tell how much of the GPU it takes", detector->name);

	if (err)
		return err;
	if (resident < 1)
		return gs_error_create(GS_ERROR_DETECTOR,
				       "%s: a block of %u threads is too large for this GPU",
				       detector->name, mine->threads);
	*ret = mine->blocks * PARTS / (uint64_t)resident;
	return NULL;
}

struct gs_error *cuda_fit(struct cuda *cuda, struct gs_detector *detector)
{
	struct cuda_detector *mine = detector->code;
	const char *name = detector->name;
	uint64_t all = (uint64_t)cuda->processors * PARTS, others = 0;
	int local = 0;
	struct gs_error *err = check_threads(cuda, mine->run, name, mine->threads);

	if (!err)
		err = check_threads(cuda, mine->loop, name, mine->threads);
	if (!err && mine->blocks > 1 && !cuda->cooperative)
		err = gs_error_create(
			GS_ERROR_DETECTOR,
			"%s wants %u blocks; this GPU cannot launch blocks that wait for "
			"each other, only one",
			name, mine->blocks);
	if (!err)
		err = ask(cuda, mine->loop, name, CUDA_FUNCTION_LOCAL_SIZE, &local);
	if (!err)
		err = share(cuda, detector, &mine->share);
	if (err)
		return err;
	mine->local_size = (uint32_t)local;
	for (struct gs_detector *d = cuda->engine->detectors; d; d = d->next)
		others += ((struct cuda_detector *)d->code)->share;
	if (mine->share + others <= all)
		return NULL;
	return gs_error_create(GS_ERROR_DETECTOR,
			       "%s needs %.1f of the GPU's %d processors for itself, and the other "
			       "detectors have %.1f",
			       name, (double)mine->share / PARTS, cuda->processors,
			       (double)others / PARTS);
}
