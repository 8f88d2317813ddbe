/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* remove_folder.h - a folder of a test, with what is in it, is gone. */
#ifndef WEIR_TESTS_UNIT_REMOVE_FOLDER_H
#define WEIR_TESTS_UNIT_REMOVE_FOLDER_H

#include <stdio.h>
#include <stdlib.h>

/* Returns 0 if it went well. */
static inline int remove_folder(const char *path)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf %s", path);
	return system(command);
}

#endif /* WEIR_TESTS_UNIT_REMOVE_FOLDER_H */
