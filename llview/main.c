// SPDX-License-Identifier: Apache-2.0
#include <argp.h>
#include <stdio.h>
#include <string.h>

#include <llvm-c/ErrorHandling.h>

#include "llview.h"

const char *argp_program_version = "llview " LV_VERSION;

static const char doc[] =
	"Compile a detector, plain C over kernel types, into one file that runs on any kernel, on "
	"GPU and CPU.\v"
	"Example:\n"
	"  llview processes.c -o processes.so\n"
	"  llview --dump processes.so\n"
	"\n"
	"Exit status: 0 success, 1 a system or library call failed, 2 wrong usage, 5 the detector is "
	"refused.\n"
	"The manual is llview(1); how to write a detector is in docs/detectors.md.";

enum { OPT_KEEP_IR = 256, OPT_RUNTIME, OPT_DUMP, OPT_INCLUDE, OPT_SOURCE_ROOT, OPT_OVERLAP };

static const struct argp_option option_table[] = {
	{ "output", 'o', "FILE", 0, "Write the fat detector to FILE", 0 },
	{ NULL, 'I', "DIR", 0, "Look for headers in DIR", 0 },
	{ NULL, 'D', "NAME[=VALUE]", 0, "Define a macro", 0 },
	{ NULL, 'U', "NAME", 0, "Undefine a macro", 0 },
	{ NULL, 'W', "WARNING", 0, "Change a warning, as clang's -W", 0 },
	{ "include", OPT_INCLUDE, "FILE", 0, "Include FILE first (also: -include FILE)", 0 },
	{ "keep-ir", OPT_KEEP_IR, "DIR", 0, "Keep the LLVM IR of each stage and the PTX in DIR",
	  0 },
	{ "runtime", OPT_RUNTIME, "DIR", 0, "Take the device runtime from DIR", 0 },
	{ "source-root", OPT_SOURCE_ROOT, "DIR", 0,
	  "Name source files below DIR relative to it in the output", 0 },
	{ "overlap", OPT_OVERLAP, "WHERE", 0,
	  "Issue the loads of one object together on: gpu (default), all, none", 0 },
	{ "dump", OPT_DUMP, "FILE", 0,
	  "Show what is in a fat detector, and which loads are translated", 0 },
	{},
};

struct command {
	struct lv_options options;
	size_t source_capacity;
	const char *dump;
};

static void pass_on(struct lv_options *options, char *arg)
{
	if (!gs_array_push(options->clang_args, options->clang_arg_count,
			   options->clang_arg_capacity, arg))
		lv_enomem();
}

static bool set_overlap(struct lv_options *options, const char *arg)
{
	static const char *const names[] = {
		[LV_OVERLAP_GPU] = "gpu",
		[LV_OVERLAP_ALL] = "all",
		[LV_OVERLAP_NONE] = "none",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(arg, names[i]) != 0)
			continue;
		options->overlap = i;
		return true;
	}
	return false;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct command *command = state->input;
	struct lv_options *options = &command->options;

	switch (key) {
	case 'o':
		options->output = arg;
		return 0;
	case 'I':
	case 'D':
	case 'U':
	case 'W':
		pass_on(options, lv_format("-%c%s", key, arg));
		return 0;
	case OPT_INCLUDE:
		pass_on(options, lv_format("-include"));
		pass_on(options, lv_format("%s", arg));
		return 0;
	case OPT_KEEP_IR:
		options->keep_ir = arg;
		return 0;
	case OPT_RUNTIME:
		options->runtime = arg;
		return 0;
	case OPT_SOURCE_ROOT:
		options->source_root = arg;
		return 0;
	case OPT_OVERLAP:
		if (!set_overlap(options, arg))
			argp_error(state, "--overlap is gpu, all or none, not %s", arg);
		return 0;
	case OPT_DUMP:
		command->dump = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (!gs_array_push(options->sources, options->source_count,
				   command->source_capacity, arg))
			lv_enomem();
		return 0;
	case ARGP_KEY_END:
		if (command->dump && (options->source_count || options->output))
			argp_error(state, "--dump takes one fat detector and nothing else");
		if (!command->dump && !options->source_count)
			argp_error(state, "no detector given: llview detector.c -o detector.so");
		if (!command->dump && !options->output)
			argp_error(state, "no output given: add -o FILE");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = option_table,
	.parser = parse,
	.args_doc = "DETECTOR.c...",
	.doc = doc,
};

// What LLVM cannot go on from, it would answer with abort().
static void on_fatal(const char *reason)
{
	fprintf(stderr, "llview: LLVM: %s\n", reason);
	exit(GS_ERROR_OTHER);
}

int main(int argc, char **argv)
{
	struct command command = {};
	static char long_include[] = "--include";

	argp_err_exit_status = GS_ERROR_USAGE;
	// As compilers spell it; argp would take it for -i -n -c ...
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-include") == 0)
			argv[i] = long_include;
	}
	LLVMInstallFatalErrorHandler(on_fatal);
	argp_parse(&argp, argc, argv, 0, NULL, &command);

	struct gs_error *err = command.dump ? lv_dump(command.dump) : lv_compile(&command.options);
	int status = err ? err->code : 0;

	if (err)
		fprintf(stderr, "llview: %s\n", err->message);
	gs_error_destroy(err);
	for (size_t i = 0; i < command.options.clang_arg_count; i++)
		free(command.options.clang_args[i]);
	free(command.options.clang_args);
	free(command.options.sources);
	return status;
}
