/* Where a script was written. quickjs.c includes it, too: see build.sh. */
#ifndef LINES_H
#define LINES_H

/* Tells where a place of a script was written: answers the file, and sets the line and the
 * column in there. Without a table behind the script it answers file, and sets nothing. What
 * no file has, since esbuild has added it, is in the file "esbuild". */
const char *written_at(const char *file, int *line, int *column);

#endif
