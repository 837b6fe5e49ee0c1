// SPDX-License-Identifier: Apache-2.0
// The cuda engine behind engine.h: loading detectors, and runs that end.
#include "engine/cuda_loop.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

// What the host fills in, and what a run leaves: all but the TLB, which a run empties itself.
#define CTX_SIZE offsetof(struct gs_ctx, shared)

static void cuda_destroy(struct gs_engine *engine);

static struct gs_error *cuda_create(struct gs_engine *engine)
{
	struct cuda *cuda = calloc(1, sizeof(*cuda));

	if (!cuda)
		return &gs_enomem;
	cuda->engine = engine;
	cuda->export_fd = -1;
	engine->priv = cuda;
	pthread_mutex_init(&cuda->lock, NULL);
	pthread_mutex_init(&cuda->reader_lock, NULL);
	pthread_mutex_init(&cuda->look_lock, NULL);
	cond_init(&cuda->reader_wake);

	struct gs_error *err = cuda_probe(cuda);

	if (!err)
		err = cuda_device_open(cuda);
	if (!err)
		err = cuda_enter(cuda);
	if (!err) {
		err = cuda_memory_open(cuda);
		cuda_leave(cuda);
	}
	if (!err) {
		engine->why = strdup(cuda->description);
		return NULL;
	}
	cuda_destroy(engine);
	engine->priv = NULL;
	return err;
}

static void cuda_destroy(struct gs_engine *engine)
{
	struct cuda *cuda = engine->priv;

	// Kernels that do not return hold all of the GPU's memory that they use until this process
	// ends, and calls that free it would wait for them.
	bool idle = cuda_idle(cuda);
	bool entered = idle && cuda->context && !cuda->api.context_push(cuda->context);

	cuda_mailbox_close(cuda, entered);
	cuda_memory_close(cuda, entered);
	if (entered) {
		cuda_release(cuda);
		cuda_leave(cuda);
	}
	if (idle)
		cuda_device_close(cuda);
	free(cuda->blocks);
	free(cuda->old_modules);
	pthread_cond_destroy(&cuda->reader_wake);
	pthread_mutex_destroy(&cuda->reader_lock);
	pthread_mutex_destroy(&cuda->look_lock);
	pthread_mutex_destroy(&cuda->lock);
	free(cuda);
}

static struct gs_error *load_ptx(struct cuda *cuda, struct loaded *loaded,
				 struct cuda_module *module)
{
	module->used = false;
	return cuda_fat_load(cuda, loaded->fat, &module->module);
}

static struct gs_error *load(struct cuda *cuda, struct loaded *loaded, struct cuda_module *module)
{
	size_t size = (loaded->fat->header->slots.count + 1) * sizeof(*loaded->slots);
	struct gs_error *err = load_ptx(cuda, loaded, module);

	if (!err)
		err = cuda_alloc(cuda, "a detector's slots", size, &module->slots);
	if (!err)
		err = cuda_write(cuda, module->slots, loaded->slots, size);
	return err;
}

static struct gs_error *cuda_load(struct gs_engine *engine, struct loaded *loaded)
{
	struct cuda *cuda = engine->priv;

	struct cuda_module *module = calloc(1, sizeof(*module));
	struct gs_error *err = module ? cuda_enter(cuda) : &gs_enomem;

	if (err) {
		free(module);
		return err;
	}
	// Taken back by cuda_unload(), half loaded as it may be.
	loaded->code = module;
	pthread_mutex_lock(&cuda->lock);
	err = load(cuda, loaded, module);
	pthread_mutex_unlock(&cuda->lock);
	cuda_leave(cuda);
	return err;
}

static void cuda_unload(struct gs_engine *engine, struct loaded *loaded)
{
	struct cuda *cuda = engine->priv;
	struct cuda_module *module = loaded->code;

	if (!cuda->api.context_push(cuda->context)) {
		pthread_mutex_lock(&cuda->lock);
		cuda_free(cuda, &module->slots);
		cuda_module_unload(cuda, &module->module);
		pthread_mutex_unlock(&cuda->lock);
		cuda_leave(cuda);
	}
	free(module);
}

static struct gs_error *cuda_set_slot(struct gs_engine *engine, struct loaded *loaded,
				      uint32_t slot)
{
	struct cuda *cuda = engine->priv;
	const struct cuda_module *module = loaded->code;
	uint64_t offset = slot * sizeof(*loaded->slots);
	struct gs_error *err = cuda_enter(cuda);

	if (err)
		return err;
	pthread_mutex_lock(&cuda->lock);
	err = cuda_write(cuda, module->slots + offset, &loaded->slots[slot],
			 sizeof(*loaded->slots));
	pthread_mutex_unlock(&cuda->lock);
	cuda_leave(cuda);
	return err;
}

// In its module, which may have been loaded anew.
static struct gs_error *find_entries(struct cuda *cuda, struct gs_detector *detector)
{
	const struct cuda_module *module = detector->loaded->code;
	struct cuda_detector *mine = detector->code;

	return cuda_fat_entries(cuda, detector->loaded->fat, detector->index, module->module,
				&mine->run, &mine->loop);
}

static struct gs_error *add(struct cuda *cuda, struct gs_detector *detector,
			    struct cuda_detector *mine)
{
	const struct gs_fat_detector *fat = &detector->loaded->fat->detectors[detector->index];
	struct gs_error *err = find_entries(cuda, detector);

	mine->threads = fat->threads;
	mine->blocks = fat->blocks;
	mine->out_size = detector->ctx->out_size;
	if (!err)
		err = cuda_check_stuck(cuda);
	if (!err)
		err = cuda_fit(cuda, detector);
	if (!err)
		err = cuda_alloc(cuda, "a detector's context", sizeof(struct gs_ctx), &mine->ctx);
	if (!err)
		err = cuda_zero(cuda, mine->ctx, sizeof(struct gs_ctx));
	if (!err)
		err = cuda_alloc(cuda, "a detector's records", mine->out_size, &mine->out);
	if (!err)
		err = cuda_alloc(cuda, "a detector's control", sizeof(struct gs_control),
				 &mine->control);
	if (!err)
		err = cuda_error(&cuda->api,
				 cuda->api.stream_create(&mine->stream, CUDA_STREAM_NON_BLOCKING),
				 "cannot create a stream");
	return err;
}

static struct gs_error *cuda_add(struct gs_detector *detector)
{
	struct cuda *cuda = detector->engine->priv;
	struct cuda_detector *mine = calloc(1, sizeof(*mine));
	struct gs_error *err = mine ? cuda_enter(cuda) : &gs_enomem;

	if (err) {
		free(mine);
		return err;
	}
	mine->row = -1;
	detector->code = mine;
	pthread_mutex_lock(&cuda->lock);
	err = add(cuda, detector, mine);
	pthread_mutex_unlock(&cuda->lock);
	cuda_leave(cuda);
	return err;
}

static void cuda_remove(struct gs_detector *detector)
{
	struct cuda *cuda = detector->engine->priv;
	struct cuda_detector *mine = detector->code;
	bool entered;

	if (!mine)
		return;
	entered = !cuda->api.context_push(cuda->context);
	if (entered)
		cuda_loop_remove(detector);
	cuda_loop_forget(detector);
	pthread_mutex_lock(&cuda->lock);
	// A kernel that does not return keeps what it uses.
	cuda->stuck |= mine->launched;
	if (entered && !mine->launched) {
		cuda_free(cuda, &mine->ctx);
		cuda_free(cuda, &mine->out);
		cuda_free(cuda, &mine->control);
		if (mine->stream)
			cuda->api.stream_destroy(mine->stream);
	}
	pthread_mutex_unlock(&cuda->lock);
	if (entered)
		cuda_leave(cuda);
	free(mine);
}

static struct gs_error *run(struct cuda *cuda, struct gs_detector *detector)
{
	struct cuda_detector *mine = detector->code;
	const struct cuda_module *module = detector->loaded->code;
	struct gs_ctx *ctx = detector->ctx;
	uint64_t slots = ctx->slots, out = ctx->out;
	uint32_t out_size = ctx->out_size, threads = ctx->threads, blocks = ctx->blocks;
	void *parameters[] = { &mine->ctx };
	struct gs_error *err = NULL;

	if (mine->out_size != ctx->out_size) {
		cuda_free(cuda, &mine->out);
		mine->out_size = ctx->out_size;
		err = cuda_alloc(cuda, "a detector's records", mine->out_size, &mine->out);
		if (err) {
			mine->out_size = 0;
			return err;
		}
	}
	// The context is ours again below: only while it travels do its addresses mean the GPU's.
	ctx->map = cuda->memory.map;
	ctx->slots = module->slots;
	ctx->out = mine->out;
	ctx->threads = mine->threads;
	ctx->blocks = mine->blocks;
	err = cuda_write(cuda, mine->ctx, ctx, CTX_SIZE);
	if (!err)
		err = cuda_launch(cuda, mine->run, mine->threads, mine->blocks, cuda->stream,
				  parameters, detector->name);
	if (!err)
		err = cuda_read(cuda, ctx, mine->ctx, CTX_SIZE);
	ctx->map = 0;
	ctx->slots = slots;
	ctx->out = out;
	ctx->out_size = out_size;
	ctx->threads = threads;
	ctx->blocks = blocks;
	if (ctx->out_used > out_size)
		ctx->out_used = out_size;
	if (err) {
		ctx->out_used = 0;
		return gs_error_prefix(err, "%s: its run on the GPU failed", detector->name);
	}
	return cuda_read(cuda, detector->out, mine->out, ctx->out_used);
}

static struct gs_error *cuda_run(struct gs_detector *detector)
{
	struct cuda *cuda = detector->engine->priv;
	struct cuda_module *module = detector->loaded->code;

	if (cuda->launched)
		return gs_error_create(GS_ERROR_USAGE,
				       "%s: runs by itself on the GPU now; stop the engine first",
				       detector->name);

	struct gs_error *err = cuda_enter(cuda);

	if (err)
		return err;
	pthread_mutex_lock(&cuda->lock);
	err = cuda_memory_refresh(cuda);
	if (!err) {
		module->used = true;
		err = run(cuda, detector);
	}
	pthread_mutex_unlock(&cuda->lock);
	cuda_leave(cuda);
	return err;
}

// Nobody but the driver knows where a module's static variables lie. As long as they are as they
// were when it was loaded, loading it again puts them back.
static bool cuda_save(struct loaded *loaded)
{
	const struct cuda_module *module = loaded->code;

	return !module->used;
}

static struct gs_error *cuda_restore(struct gs_engine *engine, struct loaded *loaded)
{
	struct cuda *cuda = engine->priv;
	struct cuda_module *module = loaded->code;
	struct gs_error *err = cuda_enter(cuda);

	if (err)
		return err;
	pthread_mutex_lock(&cuda->lock);
	cuda_module_unload(cuda, &module->module);
	err = load_ptx(cuda, loaded, module);
	for (struct gs_detector *d = engine->detectors; d && !err; d = d->next) {
		if (d->loaded == loaded)
			err = find_entries(cuda, d);
	}
	pthread_mutex_unlock(&cuda->lock);
	cuda_leave(cuda);
	return err;
}

static struct gs_error *cuda_describe(char **ret)
{
	struct cuda cuda = {};
	struct gs_error *err = cuda_probe(&cuda);

	cuda_api_close(&cuda.api);
	if (err)
		return err;
	*ret = strdup(cuda.description);
	return *ret ? NULL : &gs_enomem;
}

const struct engine_ops cuda_ops = {
	.name = "cuda",
	.parallel = true,
	.describe = cuda_describe,
	.create = cuda_create,
	.destroy = cuda_destroy,
	.load = cuda_load,
	.unload = cuda_unload,
	.add = cuda_add,
	.remove = cuda_remove,
	.run = cuda_run,
	.save = cuda_save,
	.restore = cuda_restore,
	.start = cuda_start,
	.stop = cuda_stop,
	.set_slot = cuda_set_slot,
	.heartbeat = cuda_heartbeat,
	.row = cuda_row,
	.export = cuda_export,
	.progress = cuda_progress,
};
