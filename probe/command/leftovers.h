/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* leftovers.h - `weir-probe cleanup`: what a killed probe has left in the kernel. */
#ifndef WEIR_PROBE_COMMAND_LEFTOVERS_H
#define WEIR_PROBE_COMMAND_LEFTOVERS_H

/* Returns an enum exit_code. stop_fd is not used: it takes a moment. */
int leftovers_main(int argc, char **argv, int stop_fd);

#endif /* WEIR_PROBE_COMMAND_LEFTOVERS_H */
