/* Internal: which names below a watched directory matter.
 *
 * A list has patterns of relative paths, each ended by NUL, and ends with an empty one. `*` alone is special
 * in them: it meets no slash, and nothing that begins with a dot. A pattern may mean more than what the
 * configuration says, never less: Python, which has the regular expressions, lets go of what is too much. */
#ifndef PODWITNESS_BELOW_H
#define PODWITNESS_BELOW_H

#include <stdbool.h>

/* Whether a name in the directory is one that a pattern begins with. */
bool pw_below_meets(const char *below, const char *name);

/* The list of the directory of that name in the directory, malloc'ed; empty: nothing in it matters. NULL: no memory. */
char *pw_below_child(const char *below, const char *name);

/* A copy, malloc'ed. */
char *pw_below_copy(const char *below);

#endif
