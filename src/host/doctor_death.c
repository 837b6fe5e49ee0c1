// SPDX-License-Identifier: Apache-2.0
// What becomes of the machine when its system dies: the GPU goes on reading only where nothing starts the machine anew.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "host/doctor_checks.h"
#include "host/read.h"
#include "util/array.h"

#define SYSCTL "/proc/sys/kernel/"

bool doctor_kdump(const struct doctor *doctor, struct doctor_finding *finding)
{
	int64_t loaded, size;

	if (!host_read_number(doctor->root, "/sys/kernel/kexec_crash_loaded", &loaded))
		return doctor_say(finding, DOCTOR_OK, "", "off: the kernel has none");
	if (loaded)
		return doctor_say(
			finding, DOCTOR_STOP,
			"systemctl disable --now kdump-tools (kdump), or take the dump from "
			"outside: grass dump",
			"a crash kernel is loaded: after a panic it starts, and resets the GPU");
	if (host_read_number(doctor->root, "/sys/kernel/kexec_crash_size", &size) && size > 0)
		return doctor_say(finding, DOCTOR_WARNING,
				  "take crashkernel= off the kernel's command line",
				  "no crash kernel is loaded, but %" PRId64
				  " MiB are kept for one: a service may load it later",
				  size >> 20);
	return doctor_say(finding, DOCTOR_OK, "", "no crash kernel is loaded");
}

bool doctor_panic(const struct doctor *doctor, struct doctor_finding *finding)
{
	static const char advice[] =
		"sysctl kernel.panic=0, in /etc/sysctl.d too, and no panic= on "
		"the kernel's command line";
	int64_t seconds;

	if (!host_read_number(doctor->root, SYSCTL "panic", &seconds))
		return doctor_say(finding, DOCTOR_WARNING, "mount /proc",
				  "cannot be told: there is no " SYSCTL "panic");
	if (!seconds)
		return doctor_say(finding, DOCTOR_OK, "",
				  "the machine stays as it is after a panic");
	if (seconds < 0)
		return doctor_say(finding, DOCTOR_STOP, advice,
				  "the machine restarts at once after a panic");
	return doctor_say(finding, DOCTOR_STOP, advice,
			  "the machine restarts %" PRId64 " s after a panic", seconds);
}

bool doctor_panics(const struct doctor *doctor, struct doctor_finding *finding)
{
	static const char *const causes[] = {
		"panic_on_oops", "softlockup_panic",  "hardlockup_panic", "hung_task_panic",
		"panic_on_warn", "unknown_nmi_panic", "panic_on_io_nmi",  "panic_on_rcu_stall",
	};
	char set[160] = "";
	int64_t panic = 0, loaded = 0;

	for (size_t i = 0; i < ARRAY_SIZE(causes); i++) {
		char path[64];
		int64_t value;

		snprintf(path, sizeof(path), SYSCTL "%s", causes[i]);
		if (!host_read_number(doctor->root, path, &value) || value <= 0)
			continue;
		if (*set)
			strncat(set, ", ", sizeof(set) - strlen(set) - 1);
		strncat(set, causes[i], sizeof(set) - strlen(set) - 1);
	}
	host_read_number(doctor->root, SYSCTL "panic", &panic);
	host_read_number(doctor->root, "/sys/kernel/kexec_crash_loaded", &loaded);
	if (!*set)
		return doctor_say(finding, DOCTOR_OK, "", "only what the kernel cannot survive");
	if (!panic && !loaded)
		return doctor_say(finding, DOCTOR_OK, "", "also %s; the machine stays there", set);
	return doctor_say(finding, DOCTOR_WARNING,
			  "sysctl them to 0, or see to it that the machine stays after a panic",
			  "also %s, and then it does not stay there", set);
}

bool doctor_watchdog(const struct doctor *doctor, struct doctor_finding *finding)
{
	char **names;
	size_t count = host_list(doctor->root, "/sys/class/watchdog", &names);
	bool running = false;

	for (size_t i = 0; i < count && !running; i++) {
		char path[512], state[32], identity[64] = "";
		int64_t seconds = 0;

		snprintf(path, sizeof(path), "/sys/class/watchdog/%s/state", names[i]);
		if (!host_read_line(doctor->root, path, state, sizeof(state)) ||
		    strcmp(state, "active") != 0)
			continue;
		running = true;
		snprintf(path, sizeof(path), "/sys/class/watchdog/%s/timeout", names[i]);
		host_read_number(doctor->root, path, &seconds);
		snprintf(path, sizeof(path), "/sys/class/watchdog/%s/identity", names[i]);
		host_read_line(doctor->root, path, identity, sizeof(identity));
		doctor_say(finding, DOCTOR_STOP,
			   "RuntimeWatchdogSec=0 in /etc/systemd/system.conf, or end what uses "
			   "/dev/watchdog",
			   "%s (%s) restarts the machine %" PRId64 " s after its system has died",
			   names[i], identity, seconds);
	}
	if (!running)
		doctor_say(finding, DOCTOR_OK, "", "%s",
			   count ? "there, but nobody has started it" : "none");
	host_free_names(names, count);
	return true;
}

bool doctor_sysrq(const struct doctor *doctor, struct doctor_finding *finding)
{
	int64_t value;

	if (!host_read_number(doctor->root, SYSCTL "sysrq", &value))
		return doctor_say(finding, DOCTOR_OK, "", "off: the kernel has none");
	// Documentation/admin-guide/sysrq.rst: 1 is everything, 8 dumps of processes, 128 restarts.
	if (value == 1 || value & 128)
		return doctor_say(finding, DOCTOR_OK, "",
				  "%" PRId64 ": a console may restart the machine by it", value);
	return doctor_say(finding, DOCTOR_OK, "",
			  "%" PRId64 ": no restart by it; root may still crash the machine", value);
}
