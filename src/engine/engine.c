// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "engine/host_mailbox.h"
#include "engine/internal.h"
#include "engine/resolve.h"
#include "util/array.h"
#include "util/cleanup.h"

// In the order in which "auto" tries them.
static const struct engine_ops *const engines[] = {
	&cuda_ops,
	&cpu_ops,
};

static struct gs_error *try_engine(const struct engine_ops *ops, struct gs_kernel *kernel,
				   struct gs_engine **ret)
{
	struct gs_engine *engine = calloc(1, sizeof(*engine));

	if (!engine)
		return &gs_enomem;
	engine->ops = ops;
	engine->kernel = kernel;
	engine->kinds = UINT32_MAX;

	struct gs_error *err = ops->create(engine);

	if (err) {
		free(engine);
		return err;
	}
	cond_init(&engine->wake);
	pthread_mutex_init(&engine->lock, NULL);
	pthread_mutex_init(&engine->deliver_lock, NULL);
	*ret = engine;
	return NULL;
}

struct gs_error *gs_engine_create(const char *name, struct gs_kernel *kernel,
				  struct gs_engine **ret)
{
	bool any = !name || !strcmp(name, "auto");
	struct gs_error *first = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		if (!any && strcmp(name, engines[i]->name))
			continue;

		struct gs_error *err = try_engine(engines[i], kernel, ret);

		if (!err) {
			if (first && !(*ret)->why)
				(*ret)->why = strdup(first->message);
			gs_error_destroy(first);
			return NULL;
		}
		// The engine that comes first is the one that people expect to work.
		if (first)
			gs_error_destroy(err);
		else
			first = err;
	}
	if (first)
		return first;

	char known[256] = "";

	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		strncat(known, engines[i]->name, sizeof(known) - strlen(known) - 1);
		strncat(known, ", ", sizeof(known) - strlen(known) - 1);
	}
	return gs_error_create(GS_ERROR_USAGE, "no engine is called %s; there are: %sauto", name,
			       known);
}

const char *gs_engine_name(const struct gs_engine *engine)
{
	return engine->ops->name;
}

const char *gs_engine_why(const struct gs_engine *engine)
{
	return engine->why ? engine->why : "";
}

struct gs_error *gs_engine_describe(const char *name, const char **name_ret, char **ret)
{
	bool any = !name || !strcmp(name, "auto");
	_cleanup_error_ struct gs_error *first = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		if (!any && strcmp(name, engines[i]->name))
			continue;

		struct gs_error *err = engines[i]->describe(ret);

		if (err && !any)
			return err;
		if (err) {
			gs_error_destroy(first);
			first = err;
			continue;
		}
		if (first) {
			free(*ret);
			*ret = strdup(first->message);
			if (!*ret)
				return &gs_enomem;
		}
		*name_ret = engines[i]->name;
		return NULL;
	}
	return gs_error_create(GS_ERROR_USAGE, "no engine is called %s", name);
}

static void loaded_put(struct gs_engine *engine, struct loaded *loaded)
{
	if (--loaded->users)
		return;
	for (struct loaded **p = &engine->loaded; *p; p = &(*p)->next) {
		if (*p == loaded) {
			*p = loaded->next;
			break;
		}
	}
	if (loaded->code)
		engine->ops->unload(engine, loaded);
	free(loaded->slots);
	free(loaded);
}

// Refused here, before the file's code is loaded, if the kernel lacks something.
static struct gs_error *loaded_get(struct gs_engine *engine, struct gs_fat *fat, const char *name,
				   struct loaded **ret)
{
	for (struct loaded *loaded = engine->loaded; loaded; loaded = loaded->next) {
		if (loaded->fat == fat) {
			loaded->users++;
			*ret = loaded;
			return NULL;
		}
	}

	struct loaded *loaded = calloc(1, sizeof(*loaded));

	if (!loaded)
		return &gs_enomem;
	loaded->fat = fat;
	loaded->users = 1;
	loaded->next = engine->loaded;
	engine->loaded = loaded;
	loaded->slots = calloc(fat->header->slots.count + 1, sizeof(*loaded->slots));

	struct gs_error *err = loaded->slots ? NULL : &gs_enomem;

	if (!err)
		err = resolve_from_kernel(fat, name, engine->kernel, loaded->slots);
	if (!err)
		err = engine->ops->load(engine, loaded);
	if (err) {
		loaded_put(engine, loaded);
		return err;
	}
	*ret = loaded;
	return NULL;
}

static void detector_free(struct gs_detector *detector)
{
	host_mailbox_remove(detector->engine->mailbox, detector);
	if (detector->loaded && detector->engine->ops->remove)
		detector->engine->ops->remove(detector);
	if (detector->loaded)
		loaded_put(detector->engine, detector->loaded);
	pthread_mutex_destroy(&detector->run_lock);
	free(detector->out);
	free(detector->block);
	free(detector->ctx);
	free(detector);
}

static uint64_t first_set(uint64_t a, uint64_t b, uint64_t c)
{
	return a ? a : b ? b : c;
}

uint64_t detector_output(const struct gs_fat_detector *fat, uint64_t wanted)
{
	uint64_t output = first_set(wanted, fat->output, DEFAULT_OUTPUT);

	if (output < MIN_OUTPUT)
		output = MIN_OUTPUT;
	if (output > MAX_OUTPUT)
		output = MAX_OUTPUT;
	return output & ~UINT64_C(7);
}

static struct gs_error *detector_init(struct gs_detector *detector,
				      const struct gs_detector_options *options)
{
	const struct gs_fat_detector *fat = &detector->loaded->fat->detectors[detector->index];
	uint64_t output = detector_output(fat, options->output);

	detector->period_us =
		(uint32_t)first_set(options->period_us, fat->period_us, DEFAULT_PERIOD_US);
	detector->threads = fat->threads * fat->blocks;
	detector->budget = first_set(options->budget, fat->budget, DEFAULT_BUDGET);

	// calloc() gives fresh pages for a size like this: what a detector does not fill costs no
	// memory.
	detector->out = calloc(1, output);
	detector->ctx = calloc(1, sizeof(*detector->ctx));
	detector->block = calloc(1, sizeof(*detector->block));
	if (!detector->out || !detector->ctx || !detector->block)
		return &gs_enomem;
	detector->ctx->slots = (uint64_t)detector->loaded->slots;
	detector->ctx->out = (uint64_t)detector->out;
	detector->ctx->out_size = (uint32_t)output;
	detector->ctx->threads = 1;
	detector->ctx->blocks = 1;
	detector->ctx->block = (uint64_t)detector->block;
	return detector->engine->ops->add(detector);
}

// Engines without threads here: what was added runs from now on, and so does what was ended to add it.
static struct gs_error *resume_all(struct gs_engine *engine)
{
	return engine->running && engine->ops->start ? engine->ops->start(engine) : NULL;
}

// Before a run: most are the defaults, which are there already.
static struct gs_error *set_first(struct gs_detector *detector, const struct gs_param_value *to)
{
	uint64_t now;
	struct gs_error *err = gs_detector_get_param(detector, to->name, &now);

	return err || now == to->value ? err : gs_detector_set_param(detector, to->name, to->value);
}

static struct gs_error *add(struct gs_engine *engine, struct gs_fat *fat, size_t index,
			    const struct gs_detector_options *options, struct gs_detector **ret)
{
	struct gs_detector *detector = calloc(1, sizeof(*detector));

	if (!detector)
		return &gs_enomem;
	detector->engine = engine;
	detector->index = index;
	detector->name = fat_string(fat, fat->detectors[index].name);
	pthread_mutex_init(&detector->run_lock, NULL);

	struct gs_error *err = loaded_get(engine, fat, detector->name, &detector->loaded);

	if (!err)
		err = detector_init(detector, options);
	for (size_t i = 0; i < options->param_count && !err; i++)
		err = set_first(detector, &options->params[i]);
	if (err) {
		detector_free(detector);
		return err;
	}

	pthread_mutex_lock(&engine->lock);
	detector->next = engine->detectors;
	engine->detectors = detector;

	bool running = engine->running && !engine->ops->start;

	pthread_mutex_unlock(&engine->lock);
	if (running) {
		err = periodic_start(detector);
		if (err) {
			gs_engine_remove(engine, detector);
			return err;
		}
	}
	*ret = detector;
	return NULL;
}

struct gs_error *gs_engine_add(struct gs_engine *engine, struct gs_fat *fat, size_t index,
			       const struct gs_detector_options *options, struct gs_detector **ret)
{
	struct gs_detector_options wanted = {};

	if (options)
		memcpy(&wanted, options,
		       options->size < sizeof(wanted) ? options->size : sizeof(wanted));
	if (index >= fat->header->detectors.count)
		return gs_error_create(GS_ERROR_USAGE, "%s has no detector number %zu", fat->path,
				       index);

	struct gs_error *err = add(engine, fat, index, &wanted, ret);
	struct gs_error *resume_err = resume_all(engine);

	if (!resume_err)
		return err;
	if (err) {
		gs_error_destroy(resume_err);
		return err;
	}
	gs_engine_remove(engine, *ret);
	return resume_err;
}

void gs_engine_remove(struct gs_engine *engine, struct gs_detector *detector)
{
	if (!detector)
		return;
	periodic_stop(detector);
	pthread_mutex_lock(&engine->lock);
	for (struct gs_detector **p = &engine->detectors; *p; p = &(*p)->next) {
		if (*p == detector) {
			*p = detector->next;
			break;
		}
	}
	pthread_mutex_unlock(&engine->lock);
	detector_free(detector);
	engine_fail(engine, resume_all(engine));
}

void gs_engine_destroy(struct gs_engine *engine)
{
	if (!engine)
		return;
	gs_engine_stop(engine);
	while (engine->detectors)
		gs_engine_remove(engine, engine->detectors);
	host_mailbox_destroy(engine->mailbox);
	engine->ops->destroy(engine);
	gs_error_destroy(engine->error);
	free(engine->why);
	free(engine->resume);
	pthread_cond_destroy(&engine->wake);
	pthread_mutex_destroy(&engine->lock);
	pthread_mutex_destroy(&engine->deliver_lock);
	free(engine);
}

void gs_engine_set_kinds(struct gs_engine *engine, uint32_t kinds)
{
	engine->kinds = kinds;
	if (kinds >> GS_RECORD_FINDING & 1)
		engine->kinds |= 1u << GS_RECORD_ALARM;
}

void gs_detector_add_kinds(struct gs_detector *detector, uint32_t kinds)
{
	detector->kinds |= kinds;
	detector->engine->kinds_of_any |= kinds;
}

struct gs_error *gs_engine_start(struct gs_engine *engine, gs_record_fn *fn, void *arg)
{
	if (engine->running)
		return gs_error_create(GS_ERROR_OTHER, "the engine runs already");

	gs_error_destroy(engine->error);
	engine->error = NULL;
	engine->fn = fn;
	engine->arg = arg;
	engine->running = true;
	if (engine->ops->start) {
		struct gs_error *err = engine->ops->start(engine);

		if (err)
			gs_engine_stop(engine);
		return err;
	}

	struct gs_error *mailbox_err =
		engine->mailbox ? NULL : host_mailbox_create(engine, &engine->mailbox);

	if (mailbox_err) {
		engine->running = false;
		return mailbox_err;
	}
	for (struct gs_detector *detector = engine->detectors; detector;
	     detector = detector->next) {
		struct gs_error *err = periodic_start(detector);

		if (err) {
			gs_engine_stop(engine);
			return err;
		}
	}
	return NULL;
}

void gs_engine_stop(struct gs_engine *engine)
{
	// All are told first: the longest run decides how long this takes, not the sum.
	pthread_mutex_lock(&engine->lock);
	engine->running = false;
	for (struct gs_detector *detector = engine->detectors; detector; detector = detector->next)
		detector->stopping = true;
	pthread_cond_broadcast(&engine->wake);
	pthread_mutex_unlock(&engine->lock);
	if (engine->ops->stop)
		engine->ops->stop(engine);
	for (struct gs_detector *detector = engine->detectors; detector; detector = detector->next)
		periodic_stop(detector);
}

void engine_fail(struct gs_engine *engine, struct gs_error *err)
{
	if (!err)
		return;
	pthread_mutex_lock(&engine->lock);
	if (!engine->error) {
		engine->error = err;
		err = NULL;
	}
	pthread_mutex_unlock(&engine->lock);
	gs_error_destroy(err);
}

const struct gs_error *gs_engine_error(struct gs_engine *engine)
{
	pthread_mutex_lock(&engine->lock);

	const struct gs_error *err = engine->error;

	pthread_mutex_unlock(&engine->lock);
	return err;
}

static struct gs_error *find_param(const struct gs_detector *detector, const char *name,
				   uint32_t *slot_ret)
{
	if (fat_find_param(detector->loaded->fat, name, slot_ret))
		return NULL;
	return gs_error_create(GS_ERROR_USAGE, "detector %s has no parameter %s", detector->name,
			       name);
}

struct gs_error *gs_detector_set_param(struct gs_detector *detector, const char *name,
				       uint64_t value)
{
	struct gs_engine *engine = detector->engine;
	uint32_t slot;
	struct gs_error *err = find_param(detector, name, &slot);

	if (err)
		return err;
	__atomic_store_n(&detector->loaded->slots[slot], value, __ATOMIC_RELAXED);
	return engine->ops->set_slot ? engine->ops->set_slot(engine, detector->loaded, slot) : NULL;
}

struct gs_error *gs_detector_get_param(struct gs_detector *detector, const char *name,
				       uint64_t *ret)
{
	uint32_t slot;
	struct gs_error *err = find_param(detector, name, &slot);

	if (!err)
		*ret = __atomic_load_n(&detector->loaded->slots[slot], __ATOMIC_RELAXED);
	return err;
}

struct gs_error *engine_no_mailbox(void)
{
	return gs_error_create(GS_ERROR_USAGE, "the engine has no mailbox before its first start");
}

struct gs_error *gs_engine_heartbeat(struct gs_engine *engine, struct gs_mailbox_heartbeat *ret)
{
	if (engine->ops->heartbeat)
		return engine->ops->heartbeat(engine, ret);
	return engine->mailbox ? host_mailbox_heartbeat(engine->mailbox, ret) : engine_no_mailbox();
}

struct gs_error *gs_engine_row(struct gs_engine *engine, uint32_t index,
			       struct gs_mailbox_detector *ret)
{
	if (engine->ops->row)
		return engine->ops->row(engine, index, ret);
	return engine->mailbox ? host_mailbox_row(engine->mailbox, index, ret)
			       : engine_no_mailbox();
}

struct gs_error *gs_engine_export(struct gs_engine *engine, struct gs_mailbox_export *ret)
{
	if (engine->ops->export)
		return engine->ops->export(engine, ret);
	if (!engine->mailbox)
		return engine_no_mailbox();
	host_mailbox_export(engine->mailbox, ret);
	return NULL;
}

void gs_engine_resume(struct gs_engine *engine, const struct gs_mailbox_progress *from)
{
	free(engine->resume);
	engine->resume = from ? malloc(sizeof(*from)) : NULL;
	// Without memory, numbers begin anew; so does much else.
	if (engine->resume)
		*engine->resume = *from;
}

struct gs_error *gs_engine_progress(struct gs_engine *engine, struct gs_mailbox_progress *ret)
{
	if (engine->ops->progress)
		return engine->ops->progress(engine, ret);
	return engine->mailbox ? host_mailbox_progress(engine->mailbox, ret) : engine_no_mailbox();
}

void gs_detector_stats(struct gs_detector *detector, struct gs_run_stats *ret)
{
	pthread_mutex_lock(&detector->engine->lock);
	*ret = detector->stats;
	pthread_mutex_unlock(&detector->engine->lock);
}

void gs_detector_get_info(struct gs_detector *detector, struct gs_detector_info *ret)
{
	gs_fat_detector_info(detector->loaded->fat, detector->index, ret);
	ret->period_us = detector->period_us;
	ret->budget = detector->budget;
}
