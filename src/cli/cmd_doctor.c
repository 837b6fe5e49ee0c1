// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/text.h"
#include "host/doctor.h"

static const char help[] =
	"Usage: gpusentinel doctor [--json]\n"
	"Examine whether this machine can be watched by its own GPU, also when its system\n"
	"is dead: what would keep the watch from beginning, and what would end it then.\n"
	"One line for each thing: ok, warning, or stop; how it is; and what to do.\n"
	"\n"
	"Nothing is changed, and no target is needed. As root it sees everything.\n"
	"\n"
	"Ends with 0: all is well; 8: there are warnings; 9: something would stop the\n"
	"watch.\n"
	"\n"
	"  gpusentinel doctor\n"
	"  gpusentinel doctor --json\n";

static void print_text(const struct doctor_finding *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		printf("%-8s %s: ", doctor_word(list[i].verdict), list[i].name);
		text_print(stdout, list[i].found, strlen(list[i].found), false);
		if (*list[i].advice)
			printf("; %s", list[i].advice);
		putchar('\n');
	}
}

static void print_json(const struct doctor_finding *list, size_t count)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < count; i++) {
		struct json_object *object = json_object_new_object();

		json_object_array_add(array, object);
		json_add_string(object, "check", list[i].name);
		json_add_string(object, "verdict", doctor_word(list[i].verdict));
		json_add_string(object, "found", list[i].found);
		json_add_string(object, "advice", *list[i].advice ? list[i].advice : NULL);
	}
	json_print(array, true);
}

struct gs_error *cmd_doctor(struct cli *cli, int argc, char **argv)
{
	// By enum doctor_verdict; part of the interface.
	static const int codes[] = { GS_OK, 8, 9 };
	struct cli_parser parser = { cli, argc, argv, .help = help };
	struct gs_error *err = cli_getopt_none(&parser);
	struct doctor_finding list[DOCTOR_FINDINGS_MAX];
	struct doctor doctor;

	if (err || parser.done)
		return err;
	doctor_init(&doctor);

	size_t count = doctor_examine(&doctor, list);

	if (cli->json)
		print_json(list, count);
	else
		print_text(list, count);
	cli->exit_code = codes[doctor_worst(list, count)];
	return NULL;
}
