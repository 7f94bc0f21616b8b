/* A pinned file: an O_PATH descriptor, which has no side effects whatever it is of, and keeps a file that is
 * deleted a moment later from going, so that it can still be opened. */
#ifndef PODWITNESS_PIN_H
#define PODWITNESS_PIN_H

#include <stdint.h>

#define PW_PATH_BYTES 4096 /* PATH_MAX */

struct pw_pin {
  int32_t fd;      /* -1: it could not be pinned */
  int32_t error;   /* errno then */
  int32_t is_link; /* the name is a link, which was followed */
  uint64_t device;
  uint64_t inode;
};

struct pw_opened {
  int32_t fd; /* for reading; -1: it is no regular file (then it has no path here), or it is in another place */
  uint64_t device;
  uint64_t inode;
  uint32_t path_bytes;
  char path[PW_PATH_BYTES]; /* its present name, without links or NUL; of a deleted one as the kernel says it */
};

/* Pins what a path leads to. */
void pw_pin_path(const char *path, struct pw_pin *pin);

/* Opens a pinned file, if it is a regular one whose path begins with one of `roots`, and closes the pin in any
 * case, all in one call. What is elsewhere is not opened, as that may wait for ever, or do something. Each root
 * is ended by NUL, and the list by an empty one. PW_E_SYSCALL: errno tells why. */
int pw_pin_open(int fd, const char *roots, struct pw_opened *opened);

/* The present name of an open file, as in struct pw_opened; bytes of it, or -1. */
int pw_name_of(int fd, char *path, uint32_t path_bytes);

#endif
