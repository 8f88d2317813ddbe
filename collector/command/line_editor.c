// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/command/line_editor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <editline/readline.h>

struct line_editor {
	char *history; /* NULL: none */
	char *last;    /* what was noted last */
};

/* libedit would make the file with the mode of the day. */
static int make_private(const char *path)
{
	int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

int line_editor_open(const char *history, struct line_editor **ret)
{
	struct line_editor *e = calloc(1, sizeof(*e));

	if (e && history)
		e->history = strdup(history);
	if (!e || (history && !e->history)) {
		free(e);
		return -ENOMEM;
	}
	rl_outstream = stderr;
	using_history();
	stifle_history(LINE_EDITOR_HISTORY);
	if (e->history && access(e->history, R_OK) == 0)
		(void)read_history(e->history); /* none, or not ours: begins empty */
	*ret = e;
	return 0;
}

int line_editor_close(struct line_editor *e)
{
	int err = 0;

	if (!e)
		return 0;
	if (e->history && e->last) {
		err = make_private(e->history);
		if (!err)
			err = -write_history(e->history); /* 0 or errno */
	}
	free(e->last);
	free(e->history);
	free(e);
	return err;
}

int line_editor_read(struct line_editor *e, const char *prompt, char **ret)
{
	char *line = readline(prompt);

	(void)e; /* libedit's own globals */
	if (!line)
		return -ENODATA;
	*ret = line;
	return 0;
}

void line_editor_remember(struct line_editor *e, const char *text)
{
	char *copy;

	if (text[strspn(text, " \t\r\n")] == '\0' || (e->last && strcmp(e->last, text) == 0))
		return;
	copy = strdup(text);
	if (!copy)
		return; /* a line less to go back to */
	(void)add_history(text);
	free(e->last);
	e->last = copy;
}
