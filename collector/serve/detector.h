/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * detector.h - the thread that judges one bucket of time after another
 * (collector/detect/detection.h) on a reading connection of its own.
 *
 * A bucket is judged once it is over and delay_ms more have passed, so that
 * probes had time to report. How far it has got is in the database, written by
 * the writer together with what was found: a restart neither skips nor repeats
 * a bucket. Buckets without a flow are passed over.
 */
#ifndef WEIR_COLLECTOR_SERVE_DETECTOR_H
#define WEIR_COLLECTOR_SERVE_DETECTOR_H

#include <stdint.h>

#include "collector/detect/detection.h"

struct queue;

struct detector_settings {
	uint64_t interval_ms; /* length of a bucket */
	uint64_t delay_ms;
	struct detection_limits limits;
};

/*
 * Works until stop_fd (an eventfd) is readable. Trouble with the database is
 * logged, once, and tried again; a collector without detectors still collects.
 * The arguments are borrowed.
 */
void detector_run(const char *db_path, const struct detector_settings *settings, struct queue *jobs,
		  int stop_fd);

#endif /* WEIR_COLLECTOR_SERVE_DETECTOR_H */
