/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Rules over the kernel's log: which lines are findings, and how bad.
 *
 * A file has a rule a line: its name, its severity (info, warning, error, critical), and a POSIX extended regular
 * expression, the rest of the line. Empty lines and those that begin with # say nothing. The first rule that matches
 * a message counts.
 */
#ifndef GS_CLI_RULES_H
#define GS_CLI_RULES_H

#include <regex.h>
#include <stddef.h>
#include <stdint.h>

#include <gpusentinel/engine.h>

/** Letters, digits, '-' and '_'. */
#define RULE_NAME_MAX 63
/** Bytes of an expression; it is compiled by the C library, which takes its time with long ones. */
#define RULE_PATTERN_MAX 512
#define RULES_MAX 4096

struct rule {
	char name[RULE_NAME_MAX + 1];
	enum gs_severity severity;
	regex_t pattern;
	/** Of one flood of messages the first are told: nanoseconds when it began, how many there were. */
	uint64_t flood_ns, told, untold;
};

struct rules {
	struct rule *rules;
	size_t count, capacity;
};

/** Read the @p size bytes of @p text; @p path is for messages. End it with rules_deinit(), also after an error. */
struct gs_error *rules_parse(struct rules *rules, const char *text, size_t size, const char *path);

/** Read a file; otherwise as rules_parse(). */
struct gs_error *rules_load(struct rules *rules, const char *path);

void rules_deinit(struct rules *rules);

/** The first rule that matches @p message, NULL if there is none. */
struct rule *rules_match(const struct rules *rules, const char *message);

/**
 * Whether a match at time @p ns is to be told: of each rule's five in a second.
 * @param untold_ret How many were not told before this one.
 */
bool rule_tell(struct rule *rule, uint64_t ns, uint64_t *untold_ret);

#endif
