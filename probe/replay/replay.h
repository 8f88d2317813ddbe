/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * replay.h - `weir-probe replay FILE...`: capture files through the very BPF
 * programs that measure live traffic, with the capture's clock, and a record for
 * each conversation.
 *
 * One flow table over all files, no timeouts: a conversation is one record. A
 * capture knows no host of its own: no interface, direction or role. What cannot
 * be a record is counted and named on stderr:
 *	packets  read = in flows + each counter of loss; a difference is EXIT_CHECK
 *	notes    packets cut short by the capture, time stamps that go backwards
 * A damaged file counts as far as it can be read, with an error and EXIT_RUNTIME.
 */
#ifndef WEIR_PROBE_REPLAY_REPLAY_H
#define WEIR_PROBE_REPLAY_REPLAY_H

#include "common/options.h"

extern const struct command replay_command;

/* argv[0] is the command's name. Stops early once stop_fd is readable. Returns an enum exit_code.
 */
int replay_main(int argc, char **argv, int stop_fd);

#endif /* WEIR_PROBE_REPLAY_REPLAY_H */
