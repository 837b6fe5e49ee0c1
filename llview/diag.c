// SPDX-License-Identifier: Apache-2.0
#include "diag.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void lv_cleanup_place(struct lv_place *place)
{
	free(place->file);
	free(place->directory);
	free(place->function);
}

static void place_file(struct lv_place *place, LLVMMetadataRef file)
{
	if (!file)
		return;

	unsigned int length;
	const char *text = LLVMDIFileGetFilename(file, &length);

	place->file = lv_format("%.*s", (int)length, text ? text : "");
	text = LLVMDIFileGetDirectory(file, &length);
	place->directory = lv_format("%.*s", (int)length, text ? text : "");
}

// Lexical blocks lead up to their function.
static char *scope_function(struct lv *lv, LLVMMetadataRef scope)
{
	while (scope) {
		LLVMMetadataKind kind = LLVMGetMetadataKind(scope);

		if (kind == LLVMDISubprogramMetadataKind)
			return lv_md_string(lv, lv_md_operand(lv, scope, 2));
		if (kind != LLVMDILexicalBlockMetadataKind &&
		    kind != LLVMDILexicalBlockFileMetadataKind)
			break;
		scope = lv_md_operand(lv, scope, 1);
	}
	return NULL;
}

static struct lv_place place_of_location(struct lv *lv, LLVMMetadataRef loc)
{
	LLVMMetadataRef scope = LLVMDILocationGetScope(loc);
	struct lv_place place = {
		.line = LLVMDILocationGetLine(loc),
		.column = LLVMDILocationGetColumn(loc),
		.function = scope_function(lv, scope),
	};

	place_file(&place, scope ? LLVMDIScopeGetFile(scope) : NULL);
	return place;
}

static LLVMMetadataRef useful_location(LLVMValueRef inst)
{
	LLVMMetadataRef loc = LLVMInstructionGetDebugLoc(inst);

	return loc && LLVMDILocationGetLine(loc) ? loc : NULL;
}

// CO-RE passes leave address arithmetic without a location: the access that uses it has one.
static LLVMMetadataRef location_of_users(LLVMValueRef inst, unsigned int depth)
{
	for (LLVMUseRef use = LLVMGetFirstUse(inst); use && depth; use = LLVMGetNextUse(use)) {
		LLVMValueRef user = LLVMGetUser(use);

		if (!LLVMIsAInstruction(user))
			continue;

		LLVMMetadataRef loc = useful_location(user);

		if (!loc)
			loc = location_of_users(user, depth - 1);
		if (loc)
			return loc;
	}
	return NULL;
}

static LLVMMetadataRef location_of_neighbours(LLVMValueRef inst)
{
	for (LLVMValueRef i = inst; i; i = LLVMGetPreviousInstruction(i)) {
		if (useful_location(i))
			return useful_location(i);
	}
	for (LLVMValueRef i = inst; i; i = LLVMGetNextInstruction(i)) {
		if (useful_location(i))
			return useful_location(i);
	}
	return NULL;
}

// LLVM gives no place to what it made out of several: the detector then, at least.
static struct lv_place place_of_detector(struct lv *lv, LLVMValueRef fn)
{
	const char *strings = lv->strings.v;

	for (size_t i = 0; i < lv->detectors.count; i++) {
		const struct gs_fat_site *site = &lv->sites.v[lv->detectors.v[i].fat.site];

		if (lv->detectors.v[i].function != fn)
			continue;
		return (struct lv_place){
			.file = lv_format("%s", strings + site->file),
			.function = lv_format("%s", strings + site->function),
			.line = site->line,
		};
	}
	return lv_place_of_global(lv, fn);
}

struct lv_place lv_place_of(struct lv *lv, LLVMValueRef inst)
{
	LLVMMetadataRef loc = useful_location(inst);

	if (!loc)
		loc = location_of_users(inst, 8);
	if (!loc)
		loc = location_of_neighbours(inst);
	if (loc)
		return place_of_location(lv, loc);
	return place_of_detector(lv, LLVMGetBasicBlockParent(LLVMGetInstructionParent(inst)));
}

static struct lv_place place_of_variable(struct lv *lv, LLVMValueRef global)
{
	struct lv_place place = {};
	size_t count = 0;
	LLVMValueMetadataEntry *entries = LLVMGlobalCopyAllMetadata(global, &count);

	for (size_t i = 0; i < count && !place.line; i++) {
		LLVMMetadataRef md = LLVMValueMetadataEntriesGetMetadata(entries, i);

		if (LLVMGetMetadataKind(md) == LLVMDIGlobalVariableExpressionMetadataKind)
			md = LLVMDIGlobalVariableExpressionGetVariable(md);
		if (LLVMGetMetadataKind(md) != LLVMDIGlobalVariableMetadataKind)
			continue;
		place.line = LLVMDIVariableGetLine(md);
		place_file(&place, LLVMDIVariableGetFile(md));
	}
	LLVMDisposeValueMetadataEntries(entries);
	(void)lv;
	return place;
}

struct lv_place lv_place_of_global(struct lv *lv, LLVMValueRef global)
{
	if (!LLVMIsAFunction(global))
		return place_of_variable(lv, global);

	struct lv_place place = {};
	LLVMMetadataRef subprogram = LLVMGetSubprogram(global);

	if (!subprogram)
		return place;
	place.line = LLVMDISubprogramGetLine(subprogram);
	place.function = lv_md_string(lv, lv_md_operand(lv, subprogram, 2));
	place_file(&place, LLVMDIScopeGetFile(subprogram));
	return place;
}

// The author's line with a caret below it, as compilers show it.
static void show_source(const struct lv_place *place)
{
	_cleanup_free_ char *joined = NULL;
	const char *path = place->file;

	if (path[0] != '/' && place->directory && place->directory[0])
		path = joined = lv_format("%s/%s", place->directory, place->file);

	_cleanup_fclose_ FILE *file = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	if (!file)
		return;
	for (unsigned int n = 0; n < place->line; n++) {
		if (getline(&line, &size, file) < 0)
			return;
	}
	line[strcspn(line, "\r\n")] = 0;
	fprintf(stderr, "%5u | %s\n", place->line, line);
	if (!place->column)
		return;
	fprintf(stderr, "      | ");
	for (unsigned int i = 0; i + 1 < place->column && line[i]; i++)
		fputc(line[i] == '\t' ? '\t' : ' ', stderr);
	fprintf(stderr, "^\n");
}

static void print_error(struct lv *lv, const struct lv_place *place, const char *format, va_list ap)
{
	_cleanup_free_ char *text = NULL;

	if (vasprintf(&text, format, ap) < 0)
		lv_enomem();

	char *message = NULL;

	if (place->file && place->line && place->column)
		message = lv_format("%s:%u:%u: error: %s", place->file, place->line, place->column,
				    text);
	else if (place->file && place->line)
		message = lv_format("%s:%u: error: %s", place->file, place->line, text);
	else if (place->file)
		message = lv_format("%s: error: %s", place->file, text);
	else
		message = lv_format("llview: error: %s", text);

	for (size_t i = 0; i < lv->said.count; i++) {
		if (strcmp(lv->said.v[i], message) == 0) {
			free(message);
			return;
		}
	}
	lv_push(lv->said, message);
	lv->errors++;
	fprintf(stderr, "%s\n", message);
	if (place->file && place->line)
		show_source(place);
}

void lv_error_at(struct lv *lv, const struct lv_place *place, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	print_error(lv, place, format, ap);
	va_end(ap);
}

void lv_error(struct lv *lv, LLVMValueRef inst, const char *format, ...)
{
	_cleanup_place_ struct lv_place place = lv_place_of(lv, inst);
	va_list ap;

	va_start(ap, format);
	print_error(lv, &place, format, ap);
	va_end(ap);
}

uint32_t lv_site_at(struct lv *lv, const struct lv_place *place)
{
	struct gs_fat_site site = {
		.file = lv_string(lv, place->file ? place->file : ""),
		.function = lv_string(lv, place->function ? place->function : ""),
		.line = place->line,
		.column = place->column,
	};

	for (size_t i = 0; i < lv->sites.count; i++) {
		if (memcmp(&lv->sites.v[i], &site, sizeof(site)) == 0)
			return i;
	}
	lv_push(lv->sites, site);
	return lv->sites.count - 1;
}

uint32_t lv_site(struct lv *lv, LLVMValueRef inst)
{
	_cleanup_place_ struct lv_place place = lv_place_of(lv, inst);

	return lv_site_at(lv, &place);
}
