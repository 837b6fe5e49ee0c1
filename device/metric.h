/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The metrics area: the latest value of each metric.
 */
#ifndef GS_DEVICE_METRIC_H
#define GS_DEVICE_METRIC_H

#include <stdbool.h>

#include <gpusentinel/control.h>
#include <gpusentinel/record.h>

/**
 * Keep what a record of kind GS_RECORD_METRIC says. Threads of one detector, and several detectors, may call it at
 * a time.
 *
 * @return false if there is no place for it, or its labels are too long.
 */
bool gs_metric_keep(const struct gs_mailbox_writer *writer, const struct gs_record_header *record);

#endif
