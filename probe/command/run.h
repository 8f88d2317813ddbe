/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* run.h - `weir-probe run`: measures this host's flows and sends them to a collector. */
#ifndef WEIR_PROBE_COMMAND_RUN_H
#define WEIR_PROBE_COMMAND_RUN_H

/*
 * argv[0] is the command's name. Runs until stop_fd is readable, then detaches,
 * reports every flow and gives the collector RUN_GOODBYE_MS to take it. Returns
 * an enum exit_code.
 */
int run_main(int argc, char **argv, int stop_fd);

#define RUN_GOODBYE_MS 3000

#endif /* WEIR_PROBE_COMMAND_RUN_H */
