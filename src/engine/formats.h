/* SPDX-License-Identifier: Apache-2.0 */
// Format strings in a mailbox: whoever reads records there knows what they mean without the detector's file.
#ifndef GS_ENGINE_FORMATS_H
#define GS_ENGINE_FORMATS_H

#include <gpusentinel/control.h>
#include <gpusentinel/mailbox.h>

#include "engine/fat.h"

// All formats of a fat detector and the names of its parameters, as far as they fit in @room bytes; the caller ends it with free(). NULL: no memory, or no
// room.
struct gs_mailbox_formats *formats_make(const struct gs_fat *fat, uint64_t room);

// Where the supervisor finds its parameters, of which the slots are at @slots.
void formats_params(const struct gs_fat *fat, uint64_t slots, struct gs_control *control);

// A fat detector that has these formats and nothing else, for decode_records(); end it with gs_fat_close(). What @formats says
// has been checked by mailbox_read_formats(); those that are missing or wrong refuse their records.
struct gs_error *formats_open(const struct gs_mailbox_formats *formats, const char *name,
			      struct gs_fat **ret);

#endif
