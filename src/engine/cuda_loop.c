// SPDX-License-Identifier: Apache-2.0
// Detectors that run by themselves: start, end, and the pauses between.
//
// What needs the driver, such as adding a detector, may wait for all kernels to end; so they are told to
// return first, and launched again afterwards.
#include <string.h>

#include "engine/cuda_loop.h"

struct gs_error *cuda_loop_refresh(struct cuda *cuda, bool *done_ret)
{
	struct gs_error *err = NULL;

	*done_ret = false;
	pthread_mutex_lock(&cuda->lock);
	if (cuda->launched && cuda_memory_grown(cuda)) {
		*done_ret = true;
		err = cuda_kernels_end(cuda);
		// What cannot be registered stays unreadable, and shows as faults of the detectors
		// that want it.
		if (!err)
			gs_error_destroy(cuda_memory_refresh(cuda));
		if (!err)
			err = cuda_kernels_resume(cuda);
	}
	pthread_mutex_unlock(&cuda->lock);
	return err;
}

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

struct gs_error *cuda_pause(struct gs_engine *engine)
{
	struct cuda *cuda = engine->priv;
	struct gs_error *err;

	if (!cuda->launched)
		return NULL;
	err = cuda_enter(cuda);
	if (err)
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
	struct gs_error *err = cuda_pause(engine);

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
	pthread_mutex_lock(&cuda->reader_lock);
	if (cuda->reader)
		gs_error_destroy(cuda_reader_drain(cuda, false));
	pthread_mutex_unlock(&cuda->reader_lock);
	pthread_mutex_lock(&cuda->lock);
	gs_error_destroy(cuda_mailbox_remove(cuda, mine->row));
	pthread_mutex_unlock(&cuda->lock);
}
