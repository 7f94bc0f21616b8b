/* Internal: the watched directories, by the number that inotify has for each. */
#ifndef PODWITNESS_DIRECTORIES_H
#define PODWITNESS_DIRECTORIES_H

#include <stdint.h>

struct pw_directory {
  int32_t wd;
  char *path;  /* without links */
  char *below; /* see below.h */
};

struct pw_directories {
  uint32_t count;
  uint32_t capacity;
  struct pw_directory *directory; /* by wd, ascending */
};

struct pw_directory *pw_directory_of(const struct pw_directories *directories, int32_t wd);

/* Makes room for one more. PW_OK or PW_E_MEMORY. */
int pw_directories_reserve(struct pw_directories *directories);

/* Adds or replaces one, with room for it; takes over both strings. */
void pw_directories_put(struct pw_directories *directories, int32_t wd, char *path, char *below);

void pw_directories_forget(struct pw_directories *directories, int32_t wd);
void pw_directories_clear(struct pw_directories *directories);

#endif
