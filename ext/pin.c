#include "pin.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

_Static_assert(PW_PATH_BYTES == PATH_MAX, "a path and its NUL");

void pw_pin_path(const char *path, struct pw_pin *pin)
{
  struct stat status;
  *pin = (struct pw_pin){.fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC)};
  if (pin->fd >= 0 && fstat(pin->fd, &status) == 0 && S_ISLNK(status.st_mode)) {
    pin->is_link = 1;
    close(pin->fd);
    pin->fd = open(path, O_PATH | O_CLOEXEC);
  }
  if (pin->fd < 0) {
    pin->error = errno;
  } else if (fstat(pin->fd, &status) == 0) {
    pin->device = status.st_dev;
    pin->inode = status.st_ino;
  }
}

int pw_name_of(int fd, char *path, uint32_t path_bytes)
{
  char address[32];
  snprintf(address, sizeof address, "/proc/self/fd/%d", fd);
  return (int)readlink(address, path, path_bytes);
}

static bool is_below(const struct pw_opened *opened, const char *roots)
{
  for (; *roots; roots += strlen(roots) + 1)
    if (opened->path_bytes >= strlen(roots) && memcmp(opened->path, roots, strlen(roots)) == 0)
      return true;
  return false;
}

static int open_regular(int fd, const char *roots, struct pw_opened *opened)
{
  struct stat status;
  char address[32];
  *opened = (struct pw_opened){.fd = -1};
  if (fstat(fd, &status) < 0)
    return PW_E_SYSCALL;
  opened->device = status.st_dev;
  opened->inode = status.st_ino;
  if (!S_ISREG(status.st_mode))
    return PW_OK;
  int bytes = pw_name_of(fd, opened->path, PW_PATH_BYTES);
  if (bytes < 0)
    return PW_E_SYSCALL;
  opened->path_bytes = (uint32_t)bytes;
  if (!is_below(opened, roots))
    return PW_OK;
  snprintf(address, sizeof address, "/proc/self/fd/%d", fd);
  opened->fd = open(address, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  return opened->fd < 0 ? PW_E_SYSCALL : PW_OK;
}

int pw_pin_open(int fd, const char *roots, struct pw_opened *opened)
{
  int status = open_regular(fd, roots, opened);
  int error = errno;
  close(fd);
  errno = error;
  return status;
}
