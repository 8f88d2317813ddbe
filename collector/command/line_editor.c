// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/command/line_editor.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <editline/readline.h>

/*
 * libedit, which brings three more libraries along, is loaded when somebody types:
 * a statement that is an argument need not wait for it.
 */
static struct {
	__typeof__(&readline) readline;
	__typeof__(&add_history) add_history;
	__typeof__(&read_history) read_history;
	__typeof__(&write_history) write_history;
} lib;

static int load(void)
{
	void *so = dlopen("libedit.so.2", RTLD_NOW | RTLD_LOCAL);
	__typeof__(&using_history) begin;
	__typeof__(&stifle_history) keep;
	__typeof__(&rl_outstream) out;

	if (!so)
		return -ELIBACC;
	lib.readline = dlsym(so, "readline");
	lib.add_history = dlsym(so, "add_history");
	lib.read_history = dlsym(so, "read_history");
	lib.write_history = dlsym(so, "write_history");
	begin = dlsym(so, "using_history");
	keep = dlsym(so, "stifle_history");
	out = dlsym(so, "rl_outstream");
	if (!lib.readline || !lib.add_history || !lib.read_history || !lib.write_history ||
	    !begin || !keep || !out)
		return -ELIBBAD;
	*out = stderr;
	begin();
	keep(LINE_EDITOR_HISTORY);
	return 0;
}

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
	struct line_editor *e;
	int err = load();

	if (err)
		return err;
	e = calloc(1, sizeof(*e));
	if (e && history)
		e->history = strdup(history);
	if (!e || (history && !e->history)) {
		free(e);
		return -ENOMEM;
	}
	if (e->history && access(e->history, R_OK) == 0)
		(void)lib.read_history(e->history); /* none, or not ours: begins empty */
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
			err = -lib.write_history(e->history); /* 0 or errno */
	}
	free(e->last);
	free(e->history);
	free(e);
	return err;
}

int line_editor_read(struct line_editor *e, const char *prompt, char **ret)
{
	char *line = lib.readline(prompt);

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
	(void)lib.add_history(text);
	free(e->last);
	e->last = copy;
}
