#include "arrival.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "below.h"
#include "error.h"

/* Directories in one another that are entered in one go; what is deeper is for the receiver to add. */
#define MOST_LEVELS 16
#define ADDRESS_BYTES 32

/* Where something appeared. Strings are the caller's, since directories may change while room is awaited. */
struct place {
  struct pw_watched *watched;
  int32_t wd;
  const char *path;
  const char *below;
  int levels; /* below it that may be entered */
};

int pw_watched_add(struct pw_watched *watched, const char *address, const char *path, const char *below,
                   int32_t *wd)
{
  char *own_path = strdup(path), *own_below = pw_below_copy(below);
  int status = own_path && own_below ? pw_directories_reserve(&watched->directories) : PW_E_MEMORY;
  if (status == PW_OK)
    status = pw_watch_add_dir(&watched->watch, address, wd);
  if (status == PW_OK) {
    pw_directories_put(&watched->directories, *wd, own_path, own_below);
    return PW_OK;
  }
  int error = errno;
  free(own_path);
  free(own_below);
  errno = error;
  return status;
}

/* The directory of that path and no other: neither what a link there leads to, nor what one above it does. */
static int open_directory(const char *path)
{
  char name[PW_PATH_BYTES];
  int fd = open(path, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return -1;
  int bytes = pw_name_of(fd, name, sizeof name);
  if (bytes == (int)strlen(path) && memcmp(name, path, (size_t)bytes) == 0)
    return fd;
  close(fd);
  errno = ENOENT;
  return -1;
}

/* Whether something was made or removed in a directory since it was made itself. One whose time was set back, as
 * by who unpacks an archive, does not tell. */
static bool was_changed(int fd)
{
  struct statx status;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_MTIME | STATX_BTIME, &status) < 0 || !(status.stx_mask & STATX_BTIME))
    return false;
  if (status.stx_mtime.tv_sec != status.stx_btime.tv_sec)
    return status.stx_mtime.tv_sec > status.stx_btime.tv_sec;
  return status.stx_mtime.tv_nsec > status.stx_btime.tv_nsec;
}

static struct dirent *next_entry(DIR *directory)
{
  struct dirent *entry;
  do
    entry = readdir(directory);
  while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
  return entry;
}

static bool is_directory(DIR *directory, const struct dirent *entry)
{
  struct stat status;
  if (entry->d_type != DT_UNKNOWN)
    return entry->d_type == DT_DIR;
  return fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISDIR(status.st_mode);
}

static void tell_appeared(const struct place *place, uint32_t mask, const char *name);

static void look_into(const struct place *place, DIR *directory)
{
  struct dirent *entry;
  rewinddir(directory);
  while (!place->watched->queue->ending && (entry = next_entry(directory)))
    if (pw_below_meets(place->below, entry->d_name))
      tell_appeared(place, PW_IN_CREATE | (is_directory(directory, entry) ? PW_IN_ISDIR : 0), entry->d_name);
}

/* It can't be looked into, as descriptors are used up: the receiver is to add it, and look itself. */
static void let_go(struct pw_watched *watched, struct pw_sighting *seen)
{
  pw_directories_forget(&watched->directories, seen->child_wd);
  pw_watch_remove(&watched->watch, seen->child_wd);
  seen->child_wd = -1;
}

/* Watched first, then looked into: what comes between is told twice, and nothing not at all. One that was
 * watched already was looked into then. */
static void enter(struct place *place, struct pw_sighting *seen, int fd)
{
  struct stat status;
  char address[ADDRESS_BYTES];
  bool is_new = seen->mask & PW_IN_CREATE, changed = is_new && was_changed(fd);
  snprintf(address, sizeof address, "/proc/self/fd/%d", fd);
  if (fstat(fd, &status) == 0) {
    seen->pin.device = status.st_dev;
    seen->pin.inode = status.st_ino;
  }
  uint32_t known = place->watched->directories.count;
  if (pw_watched_add(place->watched, address, place->path, place->below, &place->wd) == PW_OK)
    seen->child_wd = place->wd;
  else
    seen->pin.error = errno;
  bool is_first = place->watched->directories.count > known;
  DIR *directory = is_first ? opendir(address) : NULL;
  if (directory)
    seen->emptied = changed && !next_entry(directory);
  else if (is_first)
    let_go(place->watched, seen);
  pw_sightings_put(place->watched->queue, seen);
  if (directory) {
    look_into(place, directory);
    closedir(directory);
  }
}

static void tell_directory(const struct place *above, struct pw_sighting *seen, const char *path)
{
  char *below = pw_below_child(above->below, seen->name);
  struct place place = {above->watched, -1, path, below, above->levels - 1};
  int fd = below && *below && above->levels > 0 ? open_directory(path) : -2;
  if (fd >= 0) {
    enter(&place, seen, fd);
    close(fd);
  } else {
    seen->pin.error = fd == -1 ? errno : 0;
    pw_sightings_put(place.watched->queue, seen);
  }
  free(below);
}

static void tell_appeared(const struct place *place, uint32_t mask, const char *name)
{
  struct pw_sighting seen = {.wd = place->wd, .mask = mask, .child_wd = -1, .pin = {.fd = -1}};
  seen.name_bytes = (uint32_t)strlen(name);
  memcpy(seen.name, name, seen.name_bytes + 1);
  char *path;
  if (asprintf(&path, "%s/%s", strcmp(place->path, "/") == 0 ? "" : place->path, name) < 0)
    path = NULL;
  if (path && mask & PW_IN_ISDIR) {
    tell_directory(place, &seen, path);
  } else {
    if (path)
      pw_pin_path(path, &seen.pin);
    pw_sightings_put(place->watched->queue, &seen);
  }
  free(path);
}

void pw_arrival_tell(struct pw_watched *watched, int32_t wd, uint32_t mask, const char *name)
{
  const struct pw_directory *directory = pw_directory_of(&watched->directories, wd);
  if (directory && *name && mask & (PW_IN_CREATE | PW_IN_MOVED_TO)) {
    /* Only until room is awaited, which is after they are used. */
    struct place place = {watched, wd, directory->path, directory->below, MOST_LEVELS};
    tell_appeared(&place, mask, name);
    return;
  }
  struct pw_sighting seen = {.wd = wd, .mask = mask, .child_wd = -1, .pin = {.fd = -1}};
  seen.name_bytes = (uint32_t)strlen(name);
  memcpy(seen.name, name, seen.name_bytes + 1);
  pw_sightings_put(watched->queue, &seen);
}
