/* inotify, its thread, and reading: real files in a temporary directory. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "error.h"
#include "lookout.h"
#include "tail.h"
#include "watch.h"

#define FILES 200
#define WAIT_MS 20000

static char folder[] = "/tmp/check_watch.XXXXXX";

static const char *path_of(int number)
{
  static char path[64];
  snprintf(path, sizeof path, "%s/%d", folder, number);
  return path;
}

static int make(int number)
{
  int fd = open(path_of(number), O_CREAT | O_WRONLY | O_APPEND, 0600);
  return fd >= 0 && write(fd, "x", 1) == 1 ? fd : -1;
}

static int appearing_names_are_pinned(void)
{
  static uint8_t buffer[PW_WATCH_BUFFER_BYTES];
  static struct pw_watch_event events[PW_WATCH_BUFFER_BYTES / PW_WATCH_EVENT_BYTES];
  struct pw_watch watch;
  uint32_t count;
  int32_t wd, again;
  CHECK(pw_watch_open(&watch) == PW_OK);
  CHECK(pw_watch_add_dir(&watch, "/nonexistent", &wd) == PW_E_SYSCALL && errno == ENOENT);
  CHECK(pw_watch_add_dir(&watch, folder, &wd) == PW_OK);
  CHECK(pw_watch_add_dir(&watch, folder, &again) == PW_OK && again == wd && watch.dirs == 1);
  close(make(0));
  /* a buffer of the least size: one event at a time */
  CHECK(pw_watch_read(&watch, buffer, PW_WATCH_LONGEST_BYTES, events, &count) == PW_OK && count >= 1);
  CHECK(events[0].wd == wd && events[0].mask & PW_IN_CREATE && events[0].name_bytes == 1);
  CHECK(events[0].pinned_fd >= 0 && buffer[events[0].name_offset] == '0');
  unlink(path_of(0));
  struct stat status;
  CHECK(fstat(events[0].pinned_fd, &status) == 0 && status.st_nlink == 0 && status.st_size == 1);
  close(events[0].pinned_fd);
  pw_watch_remove(&watch, wd);
  pw_watch_remove(&watch, wd);
  CHECK(watch.dirs == 0);
  pw_watch_close(&watch);
  return 0;
}

static int events_of_a_file_are_merged(void)
{
  static uint8_t buffer[PW_WATCH_BUFFER_BYTES];
  static struct pw_watch_event events[PW_WATCH_BUFFER_BYTES / PW_WATCH_EVENT_BYTES];
  struct pw_watch watch;
  uint32_t count;
  int32_t wd[2];
  int fd[2] = {make(0), make(1)};
  CHECK(pw_watch_open(&watch) == PW_OK);
  CHECK(pw_watch_read(&watch, buffer, sizeof buffer, events, &count) == PW_OK && count == 0);
  for (int i = 0; i < 2; i++)
    CHECK(pw_watch_add_file(&watch, fd[i], &wd[i]) == PW_OK);
  for (int i = 0; i < FILES; i++)
    CHECK(write(fd[i % 2], "y", 1) == 1);
  unlink(path_of(0));
  close(fd[0]);
  CHECK(pw_watch_read(&watch, buffer, sizeof buffer, events, &count) == PW_OK && count >= 2);
  CHECK(events[0].wd == wd[0] && events[0].mask & PW_IN_MODIFY && events[0].mask & PW_IN_ATTRIB);
  CHECK(events[1].wd == wd[1] && events[1].mask == PW_IN_MODIFY && events[1].name_bytes == 0);
  close(fd[1]);
  unlink(path_of(1));
  pw_watch_close(&watch);
  return 0;
}

static int a_lookout_sees_all_and_is_bounded(void)
{
  static struct pw_sighting sightings[16];
  struct pw_lookout *lookout = pw_lookout_open();
  int32_t wd;
  CHECK(lookout);
  CHECK(pw_lookout_wait(lookout, 1, sightings, 16) == 0);
  pw_lookout_wake(lookout);
  CHECK(pw_lookout_wait(lookout, WAIT_MS, sightings, 16) == 0);
  CHECK(pw_lookout_add_dir(lookout, folder, &wd) == PW_OK);
  /* create, close and delete: more than the queue holds */
  for (int i = 0; i < PW_LOOKOUT_EVENTS; i++)
    close(make(i));
  for (int i = 0; i < PW_LOOKOUT_EVENTS; i++)
    unlink(path_of(i));
  int created = 0, removed = 0;
  while (removed < PW_LOOKOUT_EVENTS) {
    uint32_t count = pw_lookout_wait(lookout, WAIT_MS, sightings, 16);
    CHECK(count > 0 && count <= 16);
    for (uint32_t i = 0; i < count; i++) {
      if (sightings[i].mask & PW_IN_CREATE)
        CHECK(atoi(sightings[i].name) == created++);
      else if (sightings[i].mask & PW_IN_DELETE)
        CHECK(atoi(sightings[i].name) == removed++);
      if (sightings[i].pinned_fd >= 0)
        close(sightings[i].pinned_fd);
    }
  }
  CHECK(created == PW_LOOKOUT_EVENTS);
  /* what nobody received is closed with it */
  for (int i = 0; i < FILES; i++)
    close(make(i));
  pw_lookout_remove(lookout, wd);
  pw_lookout_close(lookout);
  for (int i = 0; i < FILES; i++)
    unlink(path_of(i));
  return 0;
}

static int writers_are_seen(void)
{
  int writer = make(0);
  int reader = open(path_of(0), O_RDONLY);
  CHECK(pw_tail_has_writer(reader) == 1);
  close(writer);
  CHECK(pw_tail_has_writer(reader) == 0);
  unlink(path_of(0));
  CHECK(pw_tail_has_writer(reader) == 0);
  close(reader);
  CHECK(pw_tail_has_writer(reader) == -1);
  return 0;
}

static int a_failed_read_leaves_an_empty_batch(void)
{
  uint8_t in[16];
  struct pw_tail_input input = {in, sizeof in, 1};
  int32_t at_end = 1;
  struct pw_log_batch batch = {.records = 1, .out_bytes = 1};
  struct pw_log_budget budget = {.limit_bytes = 4096};
  struct pw_log_stream *stream = pw_log_open(1024, &budget);
  struct pw_plan plan = {0};
  CHECK(pw_tail_read(stream, &plan, -1, 0, UINT64_MAX, &input, 0, 0, &at_end, &batch) == PW_E_SYSCALL);
  CHECK(errno == EBADF && at_end == 0 && batch.records == 0 && batch.out_bytes == 0);
  pw_log_close(stream);
  return 0;
}

int check_watch(void)
{
  CHECK(mkdtemp(folder));
  int failed = appearing_names_are_pinned() || events_of_a_file_are_merged() ||
               a_lookout_sees_all_and_is_bounded() || writers_are_seen() ||
               a_failed_read_leaves_an_empty_batch();
  CHECK(rmdir(folder) == 0);
  return failed;
}
