/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * check.h - the command `check`: what this kernel lets weir do, interface by
 * interface, and with --live whether every packet is accounted for: it measures
 * for a while and prints the conservation identity of bpf/flow_abi.h for this
 * host's own traffic. Exit status EXIT_CHECK if the difference is not 0.
 */
#ifndef WEIR_PROBE_COMMAND_CHECK_H
#define WEIR_PROBE_COMMAND_CHECK_H

/* stop_fd: readable when the program shall end. Returns an enum exit_code. */
int check_main(int argc, char **argv, int stop_fd);

#endif /* WEIR_PROBE_COMMAND_CHECK_H */
