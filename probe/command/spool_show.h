/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * spool_show.h - `weir-probe spool`: what waits in the spool, epoch by epoch,
 * and which batches a collector has refused.
 *
 * A probe that runs keeps the file to itself; it is read past it, as it is on
 * disk at the moment.
 */
#ifndef WEIR_PROBE_COMMAND_SPOOL_SHOW_H
#define WEIR_PROBE_COMMAND_SPOOL_SHOW_H

#include "common/options.h"

extern const struct command spool_command;

int spool_show_main(int argc, char **argv, int stop_fd);

#endif /* WEIR_PROBE_COMMAND_SPOOL_SHOW_H */
