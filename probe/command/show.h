/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* show.h - `weir-probe show`: the live flow table of this host in the terminal. */
#ifndef WEIR_PROBE_COMMAND_SHOW_H
#define WEIR_PROBE_COMMAND_SHOW_H

/*
 * argv[0] is the command's name. Redraws on a terminal until stop_fd is
 * readable; elsewhere, or with --once, prints one snapshot. Returns an enum
 * exit_code.
 */
int show_main(int argc, char **argv, int stop_fd);

#endif /* WEIR_PROBE_COMMAND_SHOW_H */
