#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "error.h"

_Static_assert(PW_IN_MODIFY == IN_MODIFY && PW_IN_ATTRIB == IN_ATTRIB &&
                   PW_IN_CLOSE_WRITE == IN_CLOSE_WRITE && PW_IN_MOVED_FROM == IN_MOVED_FROM &&
                   PW_IN_MOVED_TO == IN_MOVED_TO && PW_IN_CREATE == IN_CREATE &&
                   PW_IN_DELETE == IN_DELETE && PW_IN_DELETE_SELF == IN_DELETE_SELF &&
                   PW_IN_MOVE_SELF == IN_MOVE_SELF && PW_IN_Q_OVERFLOW == IN_Q_OVERFLOW &&
                   PW_IN_IGNORED == IN_IGNORED && PW_IN_ISDIR == IN_ISDIR,
               "PW_IN_* are not the kernel's");
_Static_assert(PW_WATCH_EVENT_BYTES == sizeof(struct inotify_event) &&
                   PW_WATCH_LONGEST_BYTES == sizeof(struct inotify_event) + NAME_MAX + 1,
               "size of an inotify event");

#define DIR_EVENTS \
  (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
/* An unlink of an open file shows as IN_ATTRIB: its link count changes. */
#define FILE_EVENTS (IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVE_SELF)

/* Not in <linux/magic.h>. */
#define ZFS_MAGIC 0x2fc12fc1u
#define BCACHEFS_MAGIC 0xca451a4eu

#define MERGE_SLOTS 1024u /* power of two; two bytes each on the stack */

int pw_watch_open(struct pw_watch *watch)
{
  watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  return watch->fd < 0 ? PW_E_SYSCALL : PW_OK;
}

void pw_watch_close(struct pw_watch *watch)
{
  if (watch->fd >= 0)
    close(watch->fd);
  watch->fd = -1;
}

int pw_watch_add_dir(struct pw_watch *watch, const char *path, int32_t *wd)
{
  *wd = inotify_add_watch(watch->fd, path, DIR_EVENTS);
  return *wd < 0 ? PW_E_SYSCALL : PW_OK;
}

int pw_watch_add_file(struct pw_watch *watch, int fd, int32_t *wd)
{
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  *wd = inotify_add_watch(watch->fd, path, FILE_EVENTS);
  return *wd < 0 ? PW_E_SYSCALL : PW_OK;
}

void pw_watch_remove(struct pw_watch *watch, int32_t wd)
{
  (void)inotify_rm_watch(watch->fd, wd);
}

/* Adds the event, or merges it into the one that the same file already has. */
static void take(const struct inotify_event *from, uint32_t name_offset, uint16_t *slot,
                 struct pw_watch_event *events, uint32_t *count)
{
  bool named = from->len > 0 && from->name[0];
  uint16_t *last = &slot[(uint32_t)from->wd & (MERGE_SLOTS - 1)];
  if (!named && *last && events[*last - 1].wd == from->wd) {
    events[*last - 1].mask |= from->mask;
  } else {
    struct pw_watch_event *event = &events[(*count)++];
    *event = (struct pw_watch_event){.wd = from->wd, .mask = from->mask};
    if (named) {
      event->name_offset = name_offset;
      event->name_bytes = (uint32_t)strnlen(from->name, from->len);
    } else {
      *last = (uint16_t)*count;
    }
  }
}

int pw_watch_tells_all(const char *path, int32_t *tells_all)
{
  static const uint32_t LOCAL[] = {EXT4_SUPER_MAGIC,      XFS_SUPER_MAGIC,  BTRFS_SUPER_MAGIC, TMPFS_MAGIC, RAMFS_MAGIC,
                                   OVERLAYFS_SUPER_MAGIC, F2FS_SUPER_MAGIC, ZFS_MAGIC,         BCACHEFS_MAGIC};
  struct statfs status;
  if (statfs(path, &status) < 0)
    return PW_E_SYSCALL;
  *tells_all = 0;
  for (unsigned i = 0; i < sizeof LOCAL / sizeof *LOCAL; i++)
    *tells_all |= (uint32_t)status.f_type == LOCAL[i];
  return PW_OK;
}

int pw_watch_read(struct pw_watch *watch, uint8_t *buffer, size_t buffer_bytes,
                  struct pw_watch_event *events, uint32_t *count)
{
  uint16_t slot[MERGE_SLOTS] = {0};
  *count = 0;
  /* merge slots hold 16 bits: no more events than that in one buffer */
  size_t most = (size_t)(UINT16_MAX - 1) * PW_WATCH_EVENT_BYTES;
  ssize_t got = read(watch->fd, buffer, buffer_bytes < most ? buffer_bytes : most);
  if (got < 0)
    return errno == EAGAIN || errno == EINTR ? PW_OK : PW_E_SYSCALL;
  for (size_t at = 0; at + sizeof(struct inotify_event) <= (size_t)got;) {
    /* the kernel pads names to a multiple of the event's size */
    const struct inotify_event *from = (const struct inotify_event *)(const void *)(buffer + at);
    take(from, (uint32_t)(at + sizeof *from), slot, events, count);
    at += sizeof *from + from->len;
  }
  return PW_OK;
}
