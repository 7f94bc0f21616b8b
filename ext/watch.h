/* inotify: what happens in directories and to open files. */
#ifndef PODWITNESS_WATCH_H
#define PODWITNESS_WATCH_H

#include <stddef.h>
#include <stdint.h>

/* Events of directories and files, as in <sys/inotify.h>; the compiler compares. */
#define PW_IN_MODIFY 0x2
#define PW_IN_ATTRIB 0x4
#define PW_IN_CLOSE_WRITE 0x8
#define PW_IN_MOVED_FROM 0x40
#define PW_IN_MOVED_TO 0x80
#define PW_IN_CREATE 0x100
#define PW_IN_DELETE 0x200
#define PW_IN_DELETE_SELF 0x400
#define PW_IN_MOVE_SELF 0x800
#define PW_IN_Q_OVERFLOW 0x4000
#define PW_IN_IGNORED 0x8000
#define PW_IN_ISDIR 0x40000000

#define PW_WATCH_EVENT_BYTES 16   /* least size of one event in the buffer */
#define PW_WATCH_LONGEST_BYTES 272
#define PW_WATCH_BUFFER_BYTES 65536

struct pw_watch_event {
  int32_t wd;            /* -1 with PW_IN_Q_OVERFLOW: events were lost */
  uint32_t mask;         /* events of one file that follow each other in a read are merged */
  uint32_t name_offset;  /* into the buffer */
  uint32_t name_bytes;   /* NUL not counted; 0: the event is about the watched thing itself */
};

struct pw_watch {
  int fd;
};

/* All functions return an enum pw_error; after PW_E_SYSCALL errno tells why. */

int pw_watch_open(struct pw_watch *watch);
void pw_watch_close(struct pw_watch *watch);

/* Watches a directory for names that come and go. One directory has one wd,
 * however often it is added. errno ENOSPC: fs.inotify.max_user_watches. */
int pw_watch_add_dir(struct pw_watch *watch, const char *path, int32_t *wd);

/* Watches the open file `fd` for growth, unlink, rename and the writer's close,
 * whatever names it has. */
int pw_watch_add_file(struct pw_watch *watch, int fd, int32_t *wd);

/* Ends a watch; one that has ended by itself is no error. */
void pw_watch_remove(struct pw_watch *watch, int32_t wd);

/* Whether all that changes on the file system of a path goes through this kernel, so that its watches tell of
 * it: 1 for those that are known to be so. Not of a network's, of another kernel's (virtiofs, 9p) or of FUSE. */
int pw_watch_tells_all(const char *path, int32_t *tells_all);

/* Reads one buffer of the events that are there. `events` has room for
 * buffer_bytes / PW_WATCH_EVENT_BYTES; no event is longer than
 * PW_WATCH_LONGEST_BYTES. */
int pw_watch_read(struct pw_watch *watch, uint8_t *buffer, size_t buffer_bytes,
                  struct pw_watch_event *events, uint32_t *count);

#endif
