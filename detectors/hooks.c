// SPDX-License-Identifier: Apache-2.0
// Pointers to functions that the kernel calls, and to tables of such: where each leads. What the kernel's own tables
// hold must be the kernel's own. What was registered may be a module's, if that is known. Nothing may lead
// into memory that is nobody's, or into a module that hides.
#include <gpusentinel/detector.h>
#include <gpusentinel/kernel.h>

#include "hooks_callbacks.h"

DETECTOR(hooks, .description = "hooks: functions that the kernel calls outside of what is known",
	 .period_ms = 1000)
{
	if (!system_is_up())
		return;
	suspects = rows = checked = note_count = 0;
	list_ranges();
	all_tables();
	all_callbacks();
	for (u32 i = 0; i < min(note_count, NOTES_MAX); i++)
		judge(&notes[i]);
	alarms_end(pointers);
	row("checked=%u noted=%u ranges=%u", checked, note_count, range_count);
}
