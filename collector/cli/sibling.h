/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sibling.h - a command that is a program of its own.
 *
 * It lies in the folder of this program, as the build makes it, or in
 * ../lib/weir from there, as `make install` does. The process becomes it: pid,
 * arguments, environment and descriptors stay.
 */
#ifndef WEIR_COLLECTOR_CLI_SIBLING_H
#define WEIR_COLLECTOR_CLI_SIBLING_H

/* argv: from the word of the command on, with a NULL after it. Returns only if that
 * fails: the exit status, after a line on stderr. */
int sibling_exec(const char *name, int argc, char **argv);

#endif /* WEIR_COLLECTOR_CLI_SIBLING_H */
