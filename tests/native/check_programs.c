/* The table of programs with hostile records: what it keeps stays within its bounds, and what it tells within the
 * room that a record has for it. */
#include "check.h"

#include "event_encode.h"
#include "program.h"

enum { ROUNDS = 20000, PIDS = 24, PARTS = PW_ARGS_BYTES + PW_PATH_BYTES };

static const struct pw_fragment NO_PAIRS = {(const uint8_t *)"", 0, 0, PW_SCOPE_HOST, 0};

static struct pw_exec *make_exec(const uint8_t fill[2])
{
  struct pw_exec *exec = calloc(1, sizeof *exec + PARTS);
  if (!exec) abort();
  exec->head = (struct pw_head){PW_EXEC, PW_EXE_CUT, (uint32_t)sizeof *exec + PARTS, 1, 1};
  exec->task.pid = 1;
  exec->task.start_ns = 1;
  exec->args_bytes = PW_ARGS_BYTES;
  exec->exe_bytes = PW_PATH_BYTES;
  exec->argc = UINT32_MAX;
  for (uint32_t at = 0; at < PARTS; at++) exec->data[at] = (char)fill[at % 2];
  return exec;
}

/* Records of nothing but the largest numbers; all are of process 1. */
static int is_told_in_its_room(uint16_t kind, const struct pw_event_clock *clock)
{
  static const size_t bytes = sizeof(struct pw_privilege) + PW_PRIVILEGE_DATA_BYTES;
  uint8_t *record = calloc(1, bytes);
  if (!record) abort();
  struct pw_head *head = (struct pw_head *)(void *)record;
  *head = (struct pw_head){kind, 0, (uint32_t)bytes, 2, 1};
  struct pw_task *task = &((struct pw_fork *)(void *)record)->task;
  if (pw_is_process_event(kind)) {
    task->pid = task->parent_pid = 1;
    task->start_ns = task->parent_start_ns = 1;
  } else {
    struct pw_tcp *tcp = (struct pw_tcp *)(void *)record;
    tcp->owner_pid = 1;
    tcp->owner_start_ns = 1;
  }
  const uint32_t room = pw_event_room(head);
  uint8_t *out = malloc(room);
  if (!out) abort();
  const uint8_t *end = pw_put_event(out, head, &NO_PAIRS, clock);
  CHECK(end <= out + room);
  CHECK(memmem(out, (size_t)(end - out), "args_count", 10) != NULL);
  free(out);
  free(record);
  return 0;
}

static int longest_program_is_told_in_the_room_of_each_record(void)
{
  static const uint8_t fills[][2] = {{0xff, 0xff}, {0xff, 0}, {0, 0}, {'\\', 'x'}, {'a', 'a'}};
  static const uint16_t kinds[] = {PW_EXEC, PW_EXIT, PW_TCP_CLOSE, PW_PRIVILEGE_MOUNT, PW_PRIVILEGE_FILE_READ};
  for (unsigned at = 0; at < sizeof fills / sizeof *fills; at++) {
    struct pw_programs *programs = pw_programs_new(4, 1 << 20);
    if (!programs) abort();
    const struct pw_event_clock clock = {.programs = programs};
    struct pw_exec *exec = make_exec(fills[at]);
    pw_programs_note(programs, &exec->head);
    free(exec);
    for (unsigned kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
      if (is_told_in_its_room(kinds[kind], &clock)) return 1;
    pw_programs_free(programs);
  }
  return 0;
}

/* Executes, forks, ends and state, of few pids and at few times. */
static struct pw_exec *some_record(uint64_t *state)
{
  static const uint16_t kinds[] = {PW_EXEC, PW_FORK, PW_EXIT, PW_STATE_PROCESS};
  const uint8_t fill[2] = {(uint8_t)check_random(state), (uint8_t)check_random(state)};
  struct pw_exec *exec = make_exec(fill);
  exec->head.kind = kinds[check_random(state) % 4];
  exec->head.time_ns = check_random(state) % 8;
  exec->args_bytes = (uint16_t)(check_random(state) % (PW_ARGS_BYTES + 1));
  exec->exe_bytes = (uint16_t)(check_random(state) % (PW_PATH_BYTES + 1));
  exec->task.pid = (uint32_t)(check_random(state) % PIDS);
  exec->task.start_ns = check_random(state) % 3;
  exec->task.parent_pid = (uint32_t)(check_random(state) % PIDS);
  exec->task.parent_start_ns = check_random(state) % 3;
  exec->task.maker_pid = (uint32_t)(check_random(state) % PIDS);
  return exec;
}

/* Paths of every length that has a head of its own. */
static int exempt_paths_are_walked_within_their_bytes(void)
{
  static const char fills[] = {'a', '\xff', '\0'};
  struct pw_programs *programs = pw_programs_new(4, 1 << 20);
  if (!programs) abort();
  for (unsigned fill = 0; fill < sizeof fills; fill++)
    for (uint32_t bytes = 0; bytes < 700; bytes += 7) {
      char *paths = malloc(bytes + 1);
      if (!paths) abort();
      memset(paths, fills[fill], bytes + 1);
      paths[bytes] = '\0';
      CHECK(pw_programs_exempt(programs, paths, bytes + 1) == PW_OK);
      free(paths);
      struct pw_exec *exec = make_exec((const uint8_t[2]){'a', 0});
      exec->head.kind = PW_STATE_PROCESS;
      exec->head.flags = 0;
      exec->exe_bytes = 2;
      exec->task.mnt_ns = 1;
      pw_programs_note(programs, &exec->head);
      struct pw_privilege privilege = {.head = {.kind = PW_PRIVILEGE_FILE_READ, .time_ns = 2}, .task = exec->task};
      CHECK(!pw_programs_is_exempt(programs, &privilege));
      free(exec);
    }
  pw_programs_free(programs);
  return 0;
}

static int bounds_are_kept(void)
{
  enum { MOST = 9, MOST_BYTES = 12000 };
  uint64_t state = 5;
  struct pw_programs *programs = pw_programs_new(MOST, MOST_BYTES);
  if (!programs) abort();
  for (int round = 0; round < ROUNDS; round++) {
    struct pw_exec *exec = some_record(&state);
    pw_programs_note(programs, &exec->head);
    CHECK(pw_programs_count(programs) <= MOST);
    CHECK(pw_programs_bytes(programs) <= MOST_BYTES);
    free(exec);
  }
  pw_programs_free(programs);
  return 0;
}

int check_programs(void)
{
  return longest_program_is_told_in_the_room_of_each_record() || exempt_paths_are_walked_within_their_bytes() ||
         bounds_are_kept();
}
