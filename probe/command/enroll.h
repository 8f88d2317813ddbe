/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * enroll.h - `weir-probe enroll` and `weir-probe key`: this host's key, made
 * here and never told, and how a collector comes to know it.
 */
#ifndef WEIR_PROBE_COMMAND_ENROLL_H
#define WEIR_PROBE_COMMAND_ENROLL_H

#include "common/options.h"

extern const struct command enroll_command, key_command;

/* argv[0] is the command's name; ends early when stop_fd is readable. An enum exit_code. */
int enroll_main(int argc, char **argv, int stop_fd);
int key_main(int argc, char **argv, int stop_fd);

#endif /* WEIR_PROBE_COMMAND_ENROLL_H */
