#include "below.h"

#include <stdlib.h>
#include <string.h>

/* Goes back to the last star alone: no name takes more than its length times the pattern's. */
static bool meets(const char *pattern, const char *end, const char *name)
{
  if (name[0] == '.' && (pattern == end || *pattern != '.'))
    return false;
  const char *star = NULL, *retry = NULL;
  while (*name) {
    if (pattern < end && *pattern == '*') {
      star = ++pattern;
      retry = name;
    } else if (pattern < end && *pattern == *name) {
      pattern++;
      name++;
    } else if (star) {
      pattern = star;
      name = ++retry;
    } else {
      return false;
    }
  }
  while (pattern < end && *pattern == '*')
    pattern++;
  return pattern == end;
}

static const char *after(const char *pattern)
{
  return pattern + strlen(pattern) + 1;
}

bool pw_below_meets(const char *below, const char *name)
{
  for (; *below; below = after(below))
    if (meets(below, strchrnul(below, '/'), name))
      return true;
  return false;
}

static size_t bytes_of(const char *below)
{
  const char *end = below;
  while (*end)
    end = after(end);
  return (size_t)(end - below) + 1;
}

char *pw_below_child(const char *below, const char *name)
{
  char *child = malloc(bytes_of(below));
  if (!child)
    return NULL;
  char *to = child;
  for (; *below; below = after(below)) {
    const char *slash = strchr(below, '/');
    if (slash && meets(below, slash, name))
      to = stpcpy(to, slash + 1) + 1;
  }
  *to = 0;
  return child;
}

char *pw_below_copy(const char *below)
{
  size_t bytes = bytes_of(below);
  char *copy = malloc(bytes);
  return copy ? memcpy(copy, below, bytes) : NULL;
}
