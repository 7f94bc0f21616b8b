/* inotify, its thread, and reading: real files in a temporary directory. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "below.h"
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

/* One sighting, or a failure after WAIT_MS. */
static int next_sighting(struct pw_lookout *lookout, struct pw_sighting *seen)
{
  CHECK(pw_lookout_wait(lookout, WAIT_MS, seen, 1) == 1);
  return 0;
}

static int appearing_names_are_pinned(void)
{
  struct pw_lookout *lookout = pw_lookout_open();
  struct pw_sighting seen;
  struct pw_opened opened;
  int32_t wd, again;
  CHECK(lookout);
  CHECK(pw_lookout_add_dir(lookout, "/nonexistent", "", &wd) == PW_E_SYSCALL && errno == ENOENT);
  CHECK(pw_lookout_add_dir(lookout, folder, "", &wd) == PW_OK);
  CHECK(pw_lookout_add_dir(lookout, folder, "", &again) == PW_OK && again == wd);
  close(make(0));
  CHECK(!next_sighting(lookout, &seen));
  CHECK(seen.wd == wd && seen.mask == PW_IN_CREATE && seen.name_bytes == 1 && seen.name[0] == '0');
  CHECK(seen.pin.fd >= 0 && seen.pin.inode && !seen.pin.is_link && seen.child_wd == -1);
  unlink(path_of(0));
  /* out of the places that are permitted it is not opened; in them it is, though it is gone */
  CHECK(pw_pin_open(dup(seen.pin.fd), "/tmp/other/\0", &opened) == PW_OK && opened.fd == -1);
  CHECK(opened.path_bytes > strlen(path_of(0)) && memcmp(opened.path, path_of(0), strlen(path_of(0))) == 0);
  CHECK(pw_pin_open(seen.pin.fd, "/tmp/other/\0/tmp/\0", &opened) == PW_OK && opened.fd >= 0);
  CHECK(opened.inode == seen.pin.inode && pw_tail_has_writer(opened.fd) == 0);
  close(opened.fd);
  CHECK(pw_pin_open(open(folder, O_PATH), "/tmp/\0", &opened) == PW_OK && opened.fd == -1 && !opened.path_bytes);
  CHECK(pw_pin_open(-1, "/\0", &opened) == PW_E_SYSCALL && errno == EBADF);
  CHECK(!next_sighting(lookout, &seen) && seen.mask == PW_IN_DELETE && seen.pin.fd == -1);
  pw_lookout_remove(lookout, wd);
  pw_lookout_remove(lookout, wd);
  pw_lookout_close(lookout);
  return 0;
}

static const char *below_of(const char *name)
{
  static char paths[2][128];
  static unsigned turn;
  char *path = paths[turn++ % 2];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

static int touch(const char *name)
{
  return close(open(below_of(name), O_CREAT | O_WRONLY, 0600));
}

/* Of a directory and what is in it: what the lookout says, until `name` is seen. */
static int see(struct pw_lookout *lookout, const char *name, struct pw_sighting *seen)
{
  for (seen->name[0] = 0; strcmp(seen->name, name);) {
    CHECK(!next_sighting(lookout, seen));
    if (seen->pin.fd >= 0)
      close(seen->pin.fd);
  }
  return 0;
}

static int directories_are_entered_as_far_as_patterns_reach(void)
{
  struct pw_lookout *lookout = pw_lookout_open();
  struct pw_sighting seen, inner;
  int32_t wd;
  CHECK(lookout && pw_lookout_add_dir(lookout, folder, "p*/*/*.log\0other/x\0", &wd) == PW_OK);
  CHECK(mkdir(below_of("q"), 0700) == 0);
  CHECK(!see(lookout, "q", &seen) && seen.mask == (PW_IN_CREATE | PW_IN_ISDIR) && seen.child_wd == -1);
  CHECK(seen.pin.fd == -1 && seen.pin.error == 0);
  /* made whole elsewhere: all that is in it has to be looked for */
  CHECK(mkdir(below_of("q/c"), 0700) == 0 && touch("q/c/0.log") == 0 && touch("q/c/0.txt") == 0);
  CHECK(symlink("c", below_of("q/link")) == 0 && symlink("0.log", below_of("q/c/link.log")) == 0);
  CHECK(mkdir(below_of("q/c/d.log"), 0700) == 0);
  CHECK(rename(below_of("q"), below_of("p1")) == 0);
  CHECK(!see(lookout, "p1", &seen) && seen.wd == wd && seen.child_wd > 0 && !seen.emptied);
  int files = 0, directories = 0, links = 0;
  inner.child_wd = -1;
  while (files + links + directories < 5) {
    CHECK(!next_sighting(lookout, &inner));
    if (inner.pin.fd >= 0)
      close(inner.pin.fd);
    CHECK(strcmp(inner.name, "0.txt"));
    links += inner.pin.is_link;
    files += !inner.pin.is_link && !(inner.mask & PW_IN_ISDIR);
    directories += !!(inner.mask & PW_IN_ISDIR);
    CHECK(!inner.pin.is_link || inner.child_wd == -1);
    CHECK(strcmp(inner.name, "d.log") || inner.child_wd == -1);
  }
  CHECK(files == 1 && directories == 2 && links == 2);
  /* watched from then on */
  CHECK(touch("p1/c/1.log") == 0 && !see(lookout, "1.log", &seen) && seen.child_wd == -1 && seen.pin.inode);
  const char *names[] = {"p1/c/0.log", "p1/c/0.txt", "p1/c/1.log", "p1/c/link.log", "p1/link"};
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
    CHECK(unlink(below_of(names[i])) == 0);
  CHECK(rmdir(below_of("p1/c/d.log")) == 0 && rmdir(below_of("p1/c")) == 0 && rmdir(below_of("p1")) == 0);
  CHECK(!see(lookout, "p1", &seen) && seen.mask == (PW_IN_DELETE | PW_IN_ISDIR));
  pw_lookout_close(lookout);
  return 0;
}

static int patterns_mean_names(void)
{
  static const struct { const char *below, *name; bool meets; const char *child; } CASES[] = {
      {"*/*.log\0", "a", true, "*.log"}, {"*/*.log\0", ".a", false, ""}, {".*/x\0", ".a", true, "x"},
      {"*.log\0", "a.log", true, ""},    {"*.log\0", "a.logs", false, ""}, {"a*b*c/d\0", "aXbXbc", true, "d"},
      {"a*b*c/d\0", "aXbXb", false, ""}, {"", "a", false, ""},            {"*\0", "*", true, ""},
      {"x/y\0a/b/c\0", "a", true, "b/c"}, {"**a\0", "a", true, ""},       {"a\0", "ab", false, ""},
  };
  for (unsigned i = 0; i < sizeof CASES / sizeof *CASES; i++) {
    char *child = pw_below_child(CASES[i].below, CASES[i].name);
    CHECK(pw_below_meets(CASES[i].below, CASES[i].name) == CASES[i].meets);
    CHECK(child && strcmp(child, CASES[i].child) == 0);
    free(child);
  }
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
  CHECK(pw_lookout_add_dir(lookout, folder, "", &wd) == PW_OK);
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
      if (sightings[i].pin.fd >= 0)
        close(sightings[i].pin.fd);
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
  int failed = appearing_names_are_pinned() || patterns_mean_names() ||
               directories_are_entered_as_far_as_patterns_reach() || events_of_a_file_are_merged() ||
               a_lookout_sees_all_and_is_bounded() || writers_are_seen() ||
               a_failed_read_leaves_an_empty_batch();
  CHECK(rmdir(folder) == 0);
  return failed;
}
