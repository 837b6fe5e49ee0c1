/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Engines: where detectors run. Loads fat detectors (fat.h), fills their slots from the target's own
 * types and symbols, runs them, and delivers decoded records.
 */
#ifndef GPUSENTINEL_ENGINE_H
#define GPUSENTINEL_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/error.h>
#include <gpusentinel/kernel_info.h>
#include <gpusentinel/mailbox.h>
#include <gpusentinel/record.h>

struct gs_fat;
struct gs_engine;
struct gs_detector;

/** Open a fat detector: checks the ELF file and its manifest; runs none of its code. */
struct gs_error *gs_fat_open(const char *path, struct gs_fat **ret);
void gs_fat_close(struct gs_fat *fat);
/** Their files hold the same bytes. */
bool gs_fat_same(const struct gs_fat *a, const struct gs_fat *b);

/** What `gpusentinel list` shows of a detector. Strings live as long as the fat detector. */
struct gs_detector_info {
	const char *name, *description, *file;
	/** Microseconds from the start of one run to the start of the next. */
	uint32_t period_us;
	/** Threads of a block, and blocks, on a GPU; the cpu engine runs one thread. */
	uint32_t threads, blocks;
	/** Loop iterations of one thread in one run. */
	uint64_t budget;
	/** Slots of the whole fat detector. */
	uint32_t fields, symbols;
	/** Bytes of PTX; 0: none. */
	uint64_t ptx_size;
};

size_t gs_fat_detector_count(const struct gs_fat *fat);
void gs_fat_detector_info(const struct gs_fat *fat, size_t index, struct gs_detector_info *ret);

/** What whoever runs a detector may set. Strings live as long as the fat detector. */
struct gs_param_info {
	const char *name, *description;
	/** Default. */
	uint64_t value;
};

/** Parameters of a fat detector, which all of its detectors share. */
size_t gs_fat_param_count(const struct gs_fat *fat);
void gs_fat_param_info(const struct gs_fat *fat, size_t index, struct gs_param_info *ret);

/**
 * Create an engine.
 * @param name "cuda", "cpu", or "auto": cuda where a usable GPU is, else cpu.
 * @return GS_ERROR_ENGINE if it cannot run here.
 */
struct gs_error *gs_engine_create(const char *name, struct gs_kernel *kernel,
				  struct gs_engine **ret);
/** Stops all detectors, then frees. NULL is allowed. */
void gs_engine_destroy(struct gs_engine *engine);
/** "cuda", "cpu" */
const char *gs_engine_name(const struct gs_engine *engine);
/** The GPU that it runs on; for cpu in the place of cuda, why that cannot be. May be empty. */
const char *gs_engine_why(const struct gs_engine *engine);
/**
 * Which engine gs_engine_create() would choose, without taking anything into use.
 * @param name_ret Its name. @param ret What gs_engine_why() would say; end it with free().
 */
struct gs_error *gs_engine_describe(const char *name, const char **name_ret, char **ret);

/** The GPU that the cuda engine would run on, to be asked without a target. */
struct gs_gpu;

/** What a detector occupies on a GPU, beside its threads and blocks. */
struct gs_residency {
	/** Registers of a thread. */
	uint32_t registers;
	/** Bytes of shared memory of a block, and of local memory of a thread. */
	uint32_t shared_bytes, local_bytes;
	/**
	 * Bytes of GPU memory: what an engine allocates for it, and what the driver takes to load its file, in
	 * steps of its own; detectors of one file share the latter.
	 */
	uint64_t memory_bytes;
};

/** @return GS_ERROR_ENGINE if no GPU can be used here. */
struct gs_error *gs_gpu_open(struct gs_gpu **ret);
/** NULL is allowed. */
void gs_gpu_close(struct gs_gpu *gpu);
/**
 * Ask what detector @p index of @p fat occupies. The driver compiles the file for this, which takes up to seconds the
 * first time. @p fat stays open until @p gpu is closed.
 */
struct gs_error *gs_gpu_residency(struct gs_gpu *gpu, const struct gs_fat *fat, size_t index,
				  struct gs_residency *ret);

/** A value for a parameter of a detector. */
struct gs_param_value {
	const char *name;
	uint64_t value;
};

/** How a detector is added; zero-initialise, then set @ref size. 0 means: as the detector says. */
struct gs_detector_options {
	size_t size;
	/** Microseconds from the start of one run to the start of the next. */
	uint32_t period_us;
	/** Loop iterations of one thread in one run. */
	uint64_t budget;
	/** Bytes of record buffer. */
	uint64_t output;
	/** As gs_detector_set_param() does, before its first run. */
	const struct gs_param_value *params;
	size_t param_count;
};

/**
 * Add detector @p index of @p fat (all of them: call for each). Resolves every slot against the target;
 * many detectors of one fat file share the work.
 *
 * @return GS_ERROR_DETECTOR with one line, e.g. "processes: kernel 6.1.0-49-amd64 has no field task_struct.foo
 * (used at detectors/processes.c:31:7)".
 */
struct gs_error *gs_engine_add(struct gs_engine *engine, struct gs_fat *fat, size_t index,
			       const struct gs_detector_options *options, struct gs_detector **ret);

/** Stop it if it runs and remove it. */
void gs_engine_remove(struct gs_engine *engine, struct gs_detector *detector);

/**
 * Set a parameter of the detector's file, for all of its detectors in this engine; also while they run: the next run
 * sees it.
 * @return GS_ERROR_USAGE if there is none of that name.
 */
struct gs_error *gs_detector_set_param(struct gs_detector *detector, const char *name,
				       uint64_t value);
struct gs_error *gs_detector_get_param(struct gs_detector *detector, const char *name,
				       uint64_t *ret);

/** One item of a decoded record. */
struct gs_item {
	/** Column name from "name=%d" in the format; "c1", "c2", ... where the format gives none. */
	const char *name;
	enum {
		GS_ITEM_INT,
		GS_ITEM_UINT,
		GS_ITEM_HEX,
		GS_ITEM_STRING,
		GS_ITEM_SYMBOL,
		GS_ITEM_DOUBLE,
		GS_ITEM_CHAR
	} type;
	union {
		int64_t i;
		uint64_t u;
		double d;
	};
	/** STRING: bytes as the kernel holds them (may be any bytes), NUL-terminated; SYMBOL: name+offset. */
	const char *string;
	size_t length;
	/** STRING was cut or partly unreadable. */
	bool cut, fault;
};

/** A decoded record; valid during the call that delivers it. */
struct gs_record {
	struct gs_detector *detector;
	const char *detector_name;
	/** Conditions that last (GS_RECORD_ALARM) are findings too. */
	enum gs_record_kind kind;
	enum gs_severity severity;
	/** Of a finding. All but GS_EVENT: a condition of the table @ref alarm, for @ref lasted_ns. */
	enum gs_state state;
	/** Name of the table; empty for events. */
	const char *alarm;
	/** What tells conditions of the table apart; GS_ALARM_OVERFLOW: it was too small for all. */
	uint64_t key;
	uint64_t lasted_ns;
	/** GS_RECORD_F_* */
	uint32_t flags;
	/** Index of the format within its fat detector: equal for records of one call site. */
	uint32_t format;
	uint64_t time_ns, run;
	/** Nanoseconds since the epoch, for people. */
	uint64_t wall_ns;
	const struct gs_item *items;
	size_t count;
	/** The library's own. */
	struct gs_record_decoder *decoder;
};

/**
 * Item @p index formatted by its conversion, with control characters escaped as \xNN. Text is made on demand, since a
 * list has tens of thousands of items; it is valid during the call that delivered the record.
 */
const char *gs_record_item_text(const struct gs_record *record, size_t index);

/** The whole message formatted, for findings (empty for a condition that has ended); the name for metrics; printf's output for rows. As above. */
const char *gs_record_text(const struct gs_record *record);

/** What a run did. */
struct gs_run_stats {
	uint64_t runs;
	/** Nanoseconds of the last run and of the longest. */
	uint64_t last_ns, max_ns;
	uint64_t faults, fault_address, walks, records, records_lost;
	/** Runs that ended because of: budget, bounds, trap. */
	uint64_t stopped_budget, stopped_bounds, stopped_trap;
	/** Source place of the last early stop: "detectors/processes.c:31"; NULL: none. */
	const char *stop_site;
};

/** Receives records. Called from one thread at a time. */
typedef void gs_record_fn(void *arg, const struct gs_record *record);

/**
 * Run a detector once, now, in the calling thread, and deliver its records.
 * @return NULL, or GS_ERROR_INCOMPLETE with one line if it stopped early, lost records, or loads failed
 * (what it found has been delivered all the same).
 */
struct gs_error *gs_detector_run(struct gs_detector *detector, gs_record_fn *fn, void *arg);

/** Totals since it was added. */
void gs_detector_stats(struct gs_detector *detector, struct gs_run_stats *ret);
void gs_detector_get_info(struct gs_detector *detector, struct gs_detector_info *ret);

/** How far the numbers in a mailbox have come. */
struct gs_mailbox_progress {
	/** As in its header. */
	uint32_t epoch;
	/** Slots of each ring that were handed to writers. */
	uint64_t heads[GS_MAILBOX_RINGS];
	/** Of each row of the detector table: its generation, and the records that were put into each ring. */
	struct gs_mailbox_row_progress {
		uint32_t generation;
		uint64_t records[GS_MAILBOX_RINGS];
	} rows[GS_MAILBOX_DETECTORS];
};

/**
 * Let the numbers of the mailbox go on from those of an earlier one, with the next epoch; before the first
 * gs_engine_start(). NULL: they begin anew.
 */
void gs_engine_resume(struct gs_engine *engine, const struct gs_mailbox_progress *from);
/**
 * How far they have come; also after gs_engine_stop().
 * @return GS_ERROR_USAGE before gs_engine_start().
 */
struct gs_error *gs_engine_progress(struct gs_engine *engine, struct gs_mailbox_progress *ret);

/**
 * Deliver records of these kinds only, from the next gs_engine_start() on: bit N for enum gs_record_kind N, where
 * findings are those of both kinds. Others count as delivered, and cost nothing here. All, if it is not called.
 */
void gs_engine_set_kinds(struct gs_engine *engine, uint32_t kinds);

/** Of this detector deliver records of these kinds as well; before gs_engine_start(). */
void gs_detector_add_kinds(struct gs_detector *detector, uint32_t kinds);

/**
 * Run every added detector on its period until gs_engine_stop(), each in its own thread. @p fn is called
 * from those threads, one at a time.
 */
struct gs_error *gs_engine_start(struct gs_engine *engine, gs_record_fn *fn, void *arg);
/**
 * Returns after the last record has been delivered; so it must not be called from the function that
 * receives records, which would wait for itself.
 */
void gs_engine_stop(struct gs_engine *engine);
/**
 * Why detectors that gs_engine_start() began to run no longer do, or why they could not be ended: the GPU failed, for
 * example. May be asked at any time; valid until the next gs_engine_start().
 * @return NULL if nothing has failed.
 */
const struct gs_error *gs_engine_error(struct gs_engine *engine);

/**
 * The mailbox, which exists from the first gs_engine_start() on: the supervisor's sign of life, and a row of the
 * detector table (all zero: never used).
 * @return GS_ERROR_USAGE before that.
 */
struct gs_error *gs_engine_heartbeat(struct gs_engine *engine, struct gs_mailbox_heartbeat *ret);
struct gs_error *gs_engine_row(struct gs_engine *engine, uint32_t index,
			       struct gs_mailbox_detector *ret);

/** Where the mailbox lies, for those who give others access to it. */
struct gs_mailbox_export {
	uint64_t size;
	/** In this process; NULL: in GPU memory. */
	void *memory;
	/** In the GPU's address space of this process; 0: not in GPU memory. */
	uint64_t gpu_address;
	/** A copy of its header, the engine's. */
	const struct gs_mailbox_header *header;
	/** A memfd (cpu engine) or a dma-buf (cuda engine) whose first bytes are the mailbox. The engine's: not to be closed. */
	int fd;
};

/**
 * The mailbox as a file descriptor. It lasts until the engine ends; after gs_engine_stop() nobody beats any more.
 * @return GS_ERROR_USAGE before gs_engine_start(); GS_ERROR_ENGINE if the GPU's driver cannot export memory as dma-buf.
 */
struct gs_error *gs_engine_export(struct gs_engine *engine, struct gs_mailbox_export *ret);

#endif
