// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* weir-probe: which command, and the signals that end it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "common/spelling.h"
#include "probe/command/check.h"
#include "probe/command/enroll.h"
#include "probe/command/leftovers.h"
#include "probe/command/run.h"
#include "probe/command/settings.h"
#include "probe/command/show.h"
#include "probe/command/spool_show.h"
#include "probe/replay/replay.h"

static const struct {
	const struct command *command;
	int (*main)(int argc, char **argv, int stop_fd);
} commands[] = {
	{&run_command, run_main},	   {&show_command, show_main},
	{&check_command, check_main},	   {&replay_command, replay_main},
	{&enroll_command, enroll_main},	   {&key_command, key_main},
	{&spool_command, spool_show_main}, {&cleanup_command, leftovers_main},
};
#define N_COMMANDS (sizeof(commands) / sizeof(*commands))

static void print_usage(FILE *out)
{
	fputs("usage: weir-probe COMMAND [OPTION...]\n\n", out);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(out, "  %-8s  %s\n", commands[i].command->name,
			commands[i].command->summary);
	fputs("\nweir-probe COMMAND --help lists the options; --version prints the version.\n",
	      out);
}

static void unknown_command(const char *name)
{
	struct spelling spelling = spelling_begin(name, strlen(name));

	for (size_t i = 0; i < N_COMMANDS; i++)
		spelling_offer(&spelling, commands[i].command->name);
	if (spelling.best)
		log_error("unknown command '%s'; did you mean '%s'?", name, spelling.best);
	else
		log_error("unknown command '%s'; see 'weir-probe --help'", name);
}

/*
 * SIGINT and SIGTERM become readable here instead of ending us, in every
 * thread. A reader of stdout that goes away is an error of write(), not a
 * signal.
 */
static int open_stop_fd(void)
{
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &stop, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -1;
	return signalfd(-1, &stop, SFD_CLOEXEC);
}

int main(int argc, char **argv)
{
	cleanup(close_p) int stop_fd = -1;

	if (argc < 2) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_usage(stdout);
		return EXIT_OK;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("weir-probe " WEIR_VERSION);
		return EXIT_OK;
	}
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (strcmp(argv[1], commands[i].command->name) != 0)
			continue;
		stop_fd = open_stop_fd();
		if (stop_fd < 0) {
			log_error("cannot watch for signals: %s", strerror(errno));
			return EXIT_RUNTIME;
		}
		return commands[i].main(argc - 1, argv + 1, stop_fd);
	}
	unknown_command(argv[1]);
	return EXIT_USAGE;
}
