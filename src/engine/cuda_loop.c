// SPDX-License-Identifier: Apache-2.0
// Detectors that run by themselves: start, end, and the end of one of them.
#include <string.h>

#include "engine/cuda_loop.h"

struct gs_error *cuda_start(struct gs_engine *engine)
{
	struct cuda *cuda = engine->priv;
	struct gs_error *err = cuda_enter(cuda);

	if (err)
		return err;
	pthread_mutex_lock(&cuda->lock);
	err = cuda_kernels_start(cuda);
	pthread_mutex_unlock(&cuda->lock);
	cuda_leave(cuda);
	return err ? err : cuda_reader_start(cuda);
}

static struct gs_error *end(struct cuda *cuda)
{
	struct gs_error *err = cuda->launched ? cuda_enter(cuda) : NULL;

	if (err || !cuda->launched)
		return err;
	pthread_mutex_lock(&cuda->lock);
	err = cuda_kernels_end(cuda);
	pthread_mutex_unlock(&cuda->lock);
	cuda_leave(cuda);
	return err;
}

void cuda_stop(struct gs_engine *engine)
{
	struct cuda *cuda = engine->priv;
	struct gs_error *err = end(cuda);

	cuda_reader_stop(cuda);
	if (!err && cuda->reader)
		err = cuda_enter(cuda);
	if (!err && cuda->reader) {
		// What came since the thread's last look.
		pthread_mutex_lock(&cuda->reader_lock);
		err = cuda_reader_drain(cuda, true);
		pthread_mutex_unlock(&cuda->reader_lock);
		cuda_leave(cuda);
	}
	engine_fail(engine, err);
}

void cuda_loop_forget(struct gs_detector *detector)
{
	struct cuda *cuda = detector->engine->priv;
	struct cuda_detector *mine = detector->code;

	pthread_mutex_lock(&cuda->reader_lock);
	if (mine->row >= 0)
		cuda->rows[mine->row] = NULL;
	pthread_mutex_unlock(&cuda->reader_lock);
	mine->row = -1;
}

void cuda_loop_remove(struct gs_detector *detector)
{
	struct cuda *cuda = detector->engine->priv;
	struct cuda_detector *mine = detector->code;

	if (mine->row < 0)
		return;
	pthread_mutex_lock(&cuda->lock);
	cuda_kernels_unwatch(cuda, detector);
	engine_fail(detector->engine, cuda_kernels_end_one(cuda, detector));
	pthread_mutex_unlock(&cuda->lock);

	pthread_mutex_lock(&cuda->reader_lock);
	if (cuda->reader)
		gs_error_destroy(cuda_reader_drain(cuda, false));
	pthread_mutex_unlock(&cuda->reader_lock);

	pthread_mutex_lock(&cuda->lock);
	if (!mine->launched)
		gs_error_destroy(cuda_mailbox_remove(cuda, mine->row));
	pthread_mutex_unlock(&cuda->lock);
}
