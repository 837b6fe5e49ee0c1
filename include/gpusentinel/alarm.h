/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Findings that last: a condition is told when it begins, when its severity changes, and when it has ended.
 *
 *     ALARMS(hung, 64, .fall_ms = 1000);
 *
 *     DETECTOR(hung_task)
 *     {
 *             for_each_process(p) {
 *                     if (waits_too_long(p))
 *                             alarm(hung, p->pid, WARNING, "task waits: pid=%d comm=%s", p->pid, p->comm);
 *             }
 *             alarms_end(hung);
 *     }
 *
 * A detector raises its conditions anew in each run. One thread does all of it; the others hand over what they see, by
 * a QUEUE() for example. A run that ends before alarms_end() ends no condition.
 */
#ifndef GPUSENTINEL_ALARM_H
#define GPUSENTINEL_ALARM_H

/** As enum gs_state of record.h. */
enum __alarm_state {
	__ALARM_QUIET = 0,
	__ALARM_OPEN = 1,
	__ALARM_CHANGED = 2,
	__ALARM_CLOSED = 3,
};

/** Key of the condition that a table is full. */
#define __ALARM_OVERFLOW (~0ULL)

/** What the time is counted for. */
enum __alarm_count {
	__ALARM_STEADY = 0,
	__ALARM_RISING,
	__ALARM_EASING,
	__ALARM_GONE,
};

struct __alarm {
	u64 key;
	/** When it began, and when it was last raised, by the engine's clock. */
	u64 since, last;
	/** The run that raised it last, as in its table. */
	u64 run;
	u64 counted_ns;
	u32 counted_runs;
	enum __alarm_count counting;
	/** As it was told; 0: it has not been. */
	u32 severity;
};

struct __alarms {
	/**
	 * Milliseconds for which a condition must hold before it is told, and for which it must be gone before it has
	 * ended; the latter also for a lower severity. If not 0, two runs at least must have seen it so.
	 */
	u32 rise_ms, fall_ms;
	/** Conditions in the table; where the next one is looked for first, as they come in the same order each time. */
	u32 used, next;
	/** run_count() of this run, plus 1. */
	u64 run;
	/** When this run began; how much time since the run before it counts, and how much usually passes. */
	u64 now, step_ns, usual_ns;
	/** Stands for the conditions that have no place; how many these are in this run, and their highest severity. */
	struct __alarm overflow;
	u32 beside, beside_severity;
};

/**
 * A table of the conditions of one kind, at most @p capacity at a time. Behind that .rise_ms and .fall_ms (struct
 * __alarms), 0 if not given. If more hold, the others are told as one condition.
 */
#define ALARMS(name, capacity, ...)                             \
	static struct __alarm __alarm_entries_##name[capacity]; \
	static struct __alarms name = { __VA_ARGS__ }

/** What follows tells; the format begins with the table's name. */
void __alarm_record(enum __alarm_state state, enum severity severity, u64 key, u64 lasted_ns,
		    const char *format, ...) __attribute__((format(printf, 5, 6)));

/**
 * The first call in a run. Where the engine or its machine stood still, nobody saw what held: a step counts for four
 * usual ones at most.
 */
static inline void __alarms_begin(struct __alarms *table)
{
	u64 run = run_count() + 1, now = now_ns(), step = now - table->now;
	u64 usual = table->usual_ns;

	if (table->run == run)
		return;
	if (!table->run || now < table->now)
		step = 0;
	table->step_ns = step < usual * 4 ? step : usual * 4;
	table->usual_ns = usual && step > usual * 2 ? usual * 2 : step;
	table->now = now;
	table->run = run;
	table->beside = table->beside_severity = 0;
}

/** Count this run. @return true if it has been so for @p ms. */
static inline bool __alarm_count(const struct __alarms *table, struct __alarm *alarm,
				 enum __alarm_count what, u32 ms)
{
	if (alarm->counting != what) {
		alarm->counting = what;
		alarm->counted_ns = 0;
		alarm->counted_runs = 0;
	}
	alarm->counted_ns += alarm->counted_runs ? table->step_ns : 0;
	alarm->counted_runs++;
	return !ms || (alarm->counted_runs > 1 && alarm->counted_ns >= ms * 1000000ULL);
}

/** @return what is to be told of a condition that holds in this run. */
static inline enum __alarm_state __alarm_raise(const struct __alarms *table, struct __alarm *alarm,
					       u64 lasted_ns, u32 severity)
{
	u64 since = table->now - (lasted_ns < table->now ? lasted_ns : table->now);
	u32 told = alarm->severity;

	if (alarm->run == table->run)
		return __ALARM_QUIET;
	if (!alarm->run || since < alarm->since)
		alarm->since = since;
	alarm->run = table->run;
	alarm->last = table->now;
	// What gets worse is told at once.
	if (!told ? !__alarm_count(table, alarm, __ALARM_RISING, table->rise_ms)
		  : severity < told && !__alarm_count(table, alarm, __ALARM_EASING, table->fall_ms))
		return __ALARM_QUIET;
	alarm->counting = __ALARM_STEADY;
	alarm->severity = severity;
	return !told ? __ALARM_OPEN : severity != told ? __ALARM_CHANGED : __ALARM_QUIET;
}

/** At the end of a run. @return false: it has ended, or never lasted long enough to be told. */
static inline bool __alarm_goes_on(const struct __alarms *table, struct __alarm *alarm)
{
	return alarm->run == table->run ||
	       (alarm->severity && !__alarm_count(table, alarm, __ALARM_GONE, table->fall_ms));
}

/** The place of a condition in its table, a new one if it has none; @p capacity: there is none left. */
static inline u32 __alarm_find(struct __alarms *table, struct __alarm *entries, u32 capacity,
			       u64 key)
{
	__alarms_begin(table);
	for (u32 i = 0; i < table->used; i++) {
		u32 at = table->next < table->used ? table->next : 0;

		table->next = at + 1;
		if (entries[at].key == key)
			return at;
	}
	if (table->used >= capacity)
		return capacity;
	entries[table->used] = (struct __alarm){ .key = key };
	table->next = table->used + 1;
	return table->used++;
}

#define __alarm_capacity(name) \
	((u32)(sizeof(__alarm_entries_##name) / sizeof(__alarm_entries_##name[0])))

/**
 * In this run the condition @p id (a u64: a pid, a CPU, an address; not ~0) of table @p name holds. The message is only
 * made, and its arguments only read, when there is something to tell; it names who is to blame. Of two calls in
 * a run for one condition the first counts.
 */
#define alarm(name, id, severity, format, ...) \
	alarm_lasting(name, id, 0, severity, format, ##__VA_ARGS__)

/** The same for a condition that is known to hold for @p lasted_ns already. */
#define alarm_lasting(name, id, lasted_ns, sev, format, ...)                                     \
	do {                                                                                     \
		enum severity __severity = (sev);                                                \
		u32 __at = __alarm_find(&(name), __alarm_entries_##name, __alarm_capacity(name), \
					(id));                                                   \
                                                                                                 \
		if (__at >= __alarm_capacity(name)) {                                            \
			(name).beside++;                                                         \
			if ((name).beside_severity < __severity)                                 \
				(name).beside_severity = __severity;                             \
			break;                                                                   \
		}                                                                                \
                                                                                                 \
		struct __alarm *__alarm = &__alarm_entries_##name[__at];                         \
		enum __alarm_state __state =                                                     \
			__alarm_raise(&(name), __alarm, (lasted_ns), __severity);                \
                                                                                                 \
		if (__state)                                                                     \
			__alarm_record(__state, __severity, __alarm->key,                        \
				       (name).now - __alarm->since, #name ": " format,           \
				       ##__VA_ARGS__);                                           \
	} while (0)

#define __alarm_close(name, alarm)                                                     \
	__alarm_record(__ALARM_CLOSED, (enum severity)(alarm)->severity, (alarm)->key, \
		       (alarm)->last - (alarm)->since, #name ": ")

/** The end of a run: what was not raised in it, and has not been for .fall_ms, has ended. */
#define alarms_end(name)                                                                           \
	do {                                                                                       \
		u32 __kept = 0;                                                                    \
                                                                                                   \
		__alarms_begin(&(name));                                                           \
		for (u32 __i = 0; __i < (name).used; __i++) {                                      \
			struct __alarm *__alarm = &__alarm_entries_##name[__i];                    \
                                                                                                   \
			if (__alarm_goes_on(&(name), __alarm))                                     \
				__alarm_entries_##name[__kept++] = *__alarm;                       \
			else if (__alarm->severity)                                                \
				__alarm_close(name, __alarm);                                      \
		}                                                                                  \
		(name).used = __kept;                                                              \
		(name).next = 0;                                                                   \
                                                                                                   \
		struct __alarm *__overflow = &(name).overflow;                                     \
		enum __alarm_state __state = (name).beside ? __alarm_raise(&(name), __overflow, 0, \
									   (name).beside_severity) \
							   : __ALARM_QUIET;                        \
                                                                                                   \
		if (__state) {                                                                     \
			__alarm_record(__state, (enum severity)__overflow->severity,               \
				       __ALARM_OVERFLOW, (name).now - __overflow->since,           \
				       #name ": more conditions than the %u that can be told "     \
					     "apart: more=%u",                                     \
				       __alarm_capacity(name), (name).beside);                     \
		} else if (__overflow->run && !__alarm_goes_on(&(name), __overflow)) {             \
			__overflow->key = __ALARM_OVERFLOW;                                        \
			if (__overflow->severity)                                                  \
				__alarm_close(name, __overflow);                                   \
			*__overflow = (struct __alarm){};                                          \
		}                                                                                  \
	} while (0)

#endif
