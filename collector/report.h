/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * report.h - `weir-collector report top|latency|retrans|protocols|matrix`: sums
 * over a window. All count every conversation once (collector/traffic.h), and
 * say how many records that set aside.
 */
#ifndef WEIR_COLLECTOR_REPORT_H
#define WEIR_COLLECTOR_REPORT_H

#include "collector/cli.h"

extern const struct cli_command report_command;

#endif /* WEIR_COLLECTOR_REPORT_H */
