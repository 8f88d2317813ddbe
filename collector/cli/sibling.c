// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/cli/sibling.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/cli/cli.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

/* With the '/' at its end. */
static int own_folder(char ret[PATH_MAX])
{
	ssize_t len = readlink("/proc/self/exe", ret, PATH_MAX - 1);

	if (len < 0)
		return -errno;
	ret[len] = '\0';
	ret[strrchr(ret, '/') + 1 - ret] = '\0'; /* the path is absolute */
	return 0;
}

int sibling_exec(const char *name, int argc, char **argv)
{
	static const char *const folders[] = {"", "../lib/weir/"};
	char own[PATH_MAX], path[2 * PATH_MAX], program[] = CLI_PROGRAM;
	cleanup(free_p) char **words = calloc((size_t)argc + 2, sizeof(*words));
	int err = words ? own_folder(own) : -ENOMEM;

	if (!err) {
		words[0] = program; /* what ps shows stays */
		memcpy(words + 1, argv, (size_t)argc * sizeof(*argv));
	}
	for (size_t i = 0; !err && i < sizeof(folders) / sizeof(folders[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s%s%s", own, folders[i], name);
		(void)execv(path, words);
		if (errno != ENOENT)
			err = -errno;
	}
	if (err)
		log_error("cannot become %s: %s", name, strerror(-err));
	else
		log_error("%s is neither in %s nor in %s%s", name, own, own, folders[1]);
	return err == -EACCES ? EXIT_PERMISSION : EXIT_RUNTIME;
}
