#include "directories.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"

/* Index of the first directory whose wd is not less. */
static uint32_t index_of(const struct pw_directories *directories, int32_t wd)
{
  uint32_t low = 0, high = directories->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (directories->directory[middle].wd < wd)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

struct pw_directory *pw_directory_of(const struct pw_directories *directories, int32_t wd)
{
  uint32_t at = index_of(directories, wd);
  return at < directories->count && directories->directory[at].wd == wd ? &directories->directory[at] : NULL;
}

int pw_directories_reserve(struct pw_directories *directories)
{
  if (directories->count < directories->capacity)
    return PW_OK;
  uint32_t capacity = directories->capacity ? directories->capacity * 2 : 16;
  struct pw_directory *grown = realloc(directories->directory, capacity * sizeof *grown);
  if (!grown)
    return PW_E_MEMORY;
  directories->directory = grown;
  directories->capacity = capacity;
  return PW_OK;
}

static void release(struct pw_directory *directory)
{
  free(directory->path);
  free(directory->below);
}

void pw_directories_put(struct pw_directories *directories, int32_t wd, char *path, char *below)
{
  uint32_t at = index_of(directories, wd);
  struct pw_directory *place = &directories->directory[at];
  if (at < directories->count && place->wd == wd) {
    release(place);
  } else {
    memmove(place + 1, place, (directories->count - at) * sizeof *place);
    directories->count++;
  }
  *place = (struct pw_directory){.wd = wd, .path = path, .below = below};
}

void pw_directories_forget(struct pw_directories *directories, int32_t wd)
{
  struct pw_directory *found = pw_directory_of(directories, wd);
  if (!found)
    return;
  release(found);
  size_t after = directories->count - (size_t)(found - directories->directory) - 1;
  memmove(found, found + 1, after * sizeof *found);
  directories->count--;
}

void pw_directories_clear(struct pw_directories *directories)
{
  for (uint32_t i = 0; i < directories->count; i++)
    release(&directories->directory[i]);
  free(directories->directory);
  memset(directories, 0, sizeof *directories);
}
