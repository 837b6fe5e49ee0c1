// SPDX-License-Identifier: Apache-2.0
#include "cli/rules.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"
#include "util/cleanup.h"

enum {
	FILE_MAX = 1 << 20,
	// Of one rule in FLOOD_NS.
	FLOOD_TOLD = 5,
	// In one expression, see too_costly().
	PLUSES_MAX = 8,
};

#define FLOOD_NS UINT64_C(1000000000)

static bool parse_severity(const char *word, size_t len, enum gs_severity *ret)
{
	static const char *const words[] = {
		[GS_INFO] = "info",
		[GS_WARNING] = "warning",
		[GS_ERROR] = "error",
		[GS_CRITICAL] = "critical",
	};

	for (size_t i = GS_INFO; i < ARRAY_SIZE(words); i++) {
		if (strlen(words[i]) == len && !memcmp(words[i], word, len)) {
			*ret = i;
			return true;
		}
	}
	return false;
}

// Why an expression may take more memory or time than a line of a file should, NULL if it may not. The C library makes
// copies of what is repeated: as many as a count says, and two for each +, of what holds such copies itself. With what
// refers back, matching takes exponential time.
static const char *too_costly(const char *pattern)
{
	unsigned int pluses = 0;

	for (const char *p = pattern; *p; p++) {
		if (*p == '\\' && p[1]) {
			p++;
			if (isdigit((unsigned char)*p))
				return "references such as \\1 are not taken";
		} else if (*p == '{') {
			return "repetitions such as {3} are written out; a brace is \\{";
		} else if (*p == '+' && ++pluses > PLUSES_MAX) {
			return "more than 8 repetitions by +";
		}
	}
	return NULL;
}

static bool is_name(const char *word, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)word[i]) && word[i] != '-' && word[i] != '_')
			return false;
	}
	return len > 0 && len <= RULE_NAME_MAX;
}

// The word at @p, which ends at white space.
static size_t word_length(const char *p)
{
	return strcspn(p, " \t");
}

__attribute__((format(printf, 3, 4))) static struct gs_error *
bad_line(const char *path, size_t line, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	struct gs_error *err = gs_error_vcreate(GS_ERROR_USAGE, format, ap);
	va_end(ap);
	return gs_error_prefix(err, "%s:%zu", path, line);
}

// @line has no newline, and no white space at its ends.
static struct gs_error *parse_line(struct rules *rules, const char *line, const char *path,
				   size_t number)
{
	struct rule rule = {};
	size_t len = word_length(line);

	if (!is_name(line, len)) {
		return bad_line(path, number,
				"a rule begins with a name of letters, digits, - and _, up to %d",
				RULE_NAME_MAX);
	}
	memcpy(rule.name, line, len);
	line += len;
	line += strspn(line, " \t");
	len = word_length(line);
	if (!parse_severity(line, len, &rule.severity)) {
		return bad_line(path, number,
				"%s: the second word is info, warning, error or critical",
				rule.name);
	}
	line += len;
	line += strspn(line, " \t");
	if (!*line)
		return bad_line(path, number, "%s: no expression", rule.name);
	if (strlen(line) > RULE_PATTERN_MAX) {
		return bad_line(path, number, "%s: an expression has up to %d bytes", rule.name,
				RULE_PATTERN_MAX);
	}

	const char *costly = too_costly(line);

	if (costly)
		return bad_line(path, number, "%s: %s", rule.name, costly);
	if (rules->count >= RULES_MAX)
		return bad_line(path, number, "more than %d rules", RULES_MAX);

	int status = regcomp(&rule.pattern, line, REG_EXTENDED | REG_NOSUB);

	if (status) {
		char why[128];

		regerror(status, &rule.pattern, why, sizeof(why));
		return bad_line(path, number, "%s: %s", rule.name, why);
	}
	if (!gs_array_push(rules->rules, rules->count, rules->capacity, rule)) {
		regfree(&rule.pattern);
		return &gs_enomem;
	}
	return NULL;
}

struct gs_error *rules_parse(struct rules *rules, const char *text, size_t size, const char *path)
{
	for (size_t at = 0, number = 1; at < size; number++) {
		const char *newline = memchr(text + at, '\n', size - at);
		size_t len = newline ? (size_t)(newline - text) - at : size - at;
		_cleanup_free_ char *line = strndup(text + at, len);

		if (!line)
			return &gs_enomem;
		if (strlen(line) != len)
			return bad_line(path, number, "a byte 0: this is no text");
		at += len + 1;

		char *begin = line + strspn(line, " \t\r"), *end = line + len;

		while (end > begin && isspace((unsigned char)end[-1]))
			*--end = 0;
		if (!*begin || *begin == '#')
			continue;

		struct gs_error *err = parse_line(rules, begin, path, number);

		if (err)
			return err;
	}
	return NULL;
}

struct gs_error *rules_load(struct rules *rules, const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	_cleanup_free_ char *text = malloc(FILE_MAX + 1);

	if (!file)
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", path);
	if (!text)
		return &gs_enomem;

	size_t size = fread(text, 1, FILE_MAX + 1, file);

	if (ferror(file))
		return gs_error_errno(GS_ERROR_OTHER, errno, "%s", path);
	if (size > FILE_MAX)
		return gs_error_create(GS_ERROR_USAGE, "%s: longer than 1 MiB", path);
	return rules_parse(rules, text, size, path);
}

void rules_deinit(struct rules *rules)
{
	for (size_t i = 0; i < rules->count; i++)
		regfree(&rules->rules[i].pattern);
	free(rules->rules);
	*rules = (struct rules){};
}

struct rule *rules_match(const struct rules *rules, const char *message)
{
	for (size_t i = 0; i < rules->count; i++) {
		if (!regexec(&rules->rules[i].pattern, message, 0, NULL, 0))
			return &rules->rules[i];
	}
	return NULL;
}

bool rule_tell(struct rule *rule, uint64_t ns, uint64_t *untold_ret)
{
	*untold_ret = 0;
	if (ns < rule->flood_ns || ns - rule->flood_ns >= FLOOD_NS) {
		*untold_ret = rule->untold;
		rule->flood_ns = ns;
		rule->told = 0;
		rule->untold = 0;
	}
	if (rule->told < FLOOD_TOLD) {
		rule->told++;
		return true;
	}
	rule->untold++;
	return false;
}
