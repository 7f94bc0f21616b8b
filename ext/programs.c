/* Processes by pid, the programs shared by those that inherited them. */
#include "programs.h"

#include <stdlib.h>
#include <string.h>

#include "event_encode.h"
#include "memory.h"
#include "program.h"

enum { NOBODY = 0 }; /* places are numbered from 1 */

/* Of those that are kept so many are kept when they have ended: connections are told to be closed soon after, and a
 * node that starts many processes should not hold memory for all of them. */
enum { PART_ENDED = 8 };

struct process {
  uint64_t start_ns;
  uint64_t since_ns; /* it runs `now` since then, as far as is known */
  struct pw_program *now;
  struct pw_program *before; /* of the same process; NULL: there was none */
  uint32_t pid;
  uint32_t next_of_bucket;
  uint32_t older, newer; /* neighbours in the list that it is in */
  uint8_t has_ended;
  uint8_t is_asked_for;
  uint8_t is_by_number; /* of a maker of `now` only the number was told */
};

struct list {
  uint32_t oldest, newest, count;
};

struct pw_programs {
  struct process *processes;
  uint32_t *buckets;
  struct list living, ended;
  uint64_t max_bytes, bytes;
  uint64_t forgotten; /* of processes that live, for want of room */
  uint64_t doubt_ns, numbers_doubt_ns, known_until_ns;
  uint8_t *exempt; /* paths as msgpack strings, one behind the other */
  size_t exempt_bytes;
  uint32_t node_mnt_ns; /* 0: not known */
  uint32_t max_processes, count, mask;
  uint32_t free; /* a chain by next_of_bucket */
  uint32_t made; /* places up to here have been used */
};

struct pw_programs *pw_programs_new(uint32_t max_processes, uint64_t max_bytes)
{
  uint32_t buckets = 16;
  while (buckets < max_processes && buckets < 1u << 30)
    buckets *= 2;
  struct pw_programs *programs = calloc(1, sizeof *programs);
  if (programs == NULL)
    return NULL;
  programs->processes = pw_memory_table((size_t)max_processes + 1, sizeof *programs->processes);
  programs->buckets = pw_memory_table(buckets, sizeof *programs->buckets);
  if (programs->processes == NULL || programs->buckets == NULL) {
    pw_programs_free(programs);
    return NULL;
  }
  programs->max_processes = max_processes;
  programs->max_bytes = max_bytes;
  programs->known_until_ns = UINT64_MAX;
  programs->mask = buckets - 1;
  return programs;
}

static uint64_t size_of(const struct pw_program *program)
{
  return sizeof *program + program->pairs_bytes;
}

static void let_go(struct pw_programs *programs, struct pw_program *program)
{
  if (program == NULL || --program->users > 0)
    return;
  programs->bytes -= size_of(program);
  free(program);
}

void pw_programs_free(struct pw_programs *programs)
{
  if (programs == NULL)
    return;
  for (uint32_t at = 1; programs->processes != NULL && at <= programs->made; at++) {
    let_go(programs, programs->processes[at].now);
    let_go(programs, programs->processes[at].before);
  }
  free(programs->exempt);
  free(programs->processes);
  free(programs->buckets);
  free(programs);
}

static struct list *list_of(struct pw_programs *programs, const struct process *process)
{
  return process->has_ended ? &programs->ended : &programs->living;
}

static void take_out(struct pw_programs *programs, struct process *process)
{
  struct list *list = list_of(programs, process);
  list->count--;
  if (process->older != NOBODY)
    programs->processes[process->older].newer = process->newer;
  else
    list->oldest = process->newer;
  if (process->newer != NOBODY)
    programs->processes[process->newer].older = process->older;
  else
    list->newest = process->older;
}

static void put_newest(struct pw_programs *programs, struct process *process)
{
  struct list *list = list_of(programs, process);
  const uint32_t at = (uint32_t)(process - programs->processes);
  list->count++;
  process->older = list->newest;
  process->newer = NOBODY;
  if (list->newest != NOBODY)
    programs->processes[list->newest].newer = at;
  else
    list->oldest = at;
  list->newest = at;
}

/* Pids are counted up: neighbours stand side by side. */
static uint32_t *bucket_of(const struct pw_programs *programs, uint32_t pid)
{
  return &programs->buckets[pid & programs->mask];
}

static struct process *find_pid(const struct pw_programs *programs, uint32_t pid)
{
  uint32_t at = *bucket_of(programs, pid);
  while (at != NOBODY && programs->processes[at].pid != pid)
    at = programs->processes[at].next_of_bucket;
  return at != NOBODY ? &programs->processes[at] : NULL;
}

static struct process *find_process(const struct pw_programs *programs, uint32_t pid, uint64_t start_ns)
{
  struct process *found = find_pid(programs, pid);
  return found != NULL && found->start_ns == start_ns ? found : NULL;
}

static void forget(struct pw_programs *programs, struct process *process)
{
  const uint32_t at = (uint32_t)(process - programs->processes);
  uint32_t *link = bucket_of(programs, process->pid);
  while (*link != at)
    link = &programs->processes[*link].next_of_bucket;
  *link = process->next_of_bucket;
  take_out(programs, process);
  let_go(programs, process->now);
  let_go(programs, process->before);
  *process = (struct process){.next_of_bucket = programs->free};
  programs->free = at;
  programs->count--;
}

/* One is forgotten; 0 if there is none. */
static int forget_one(struct pw_programs *programs)
{
  if (programs->ended.oldest != NOBODY) {
    forget(programs, &programs->processes[programs->ended.oldest]);
    return 1;
  }
  while (programs->living.oldest != NOBODY) {
    struct process *process = &programs->processes[programs->living.oldest];
    if (!process->is_asked_for) {
      forget(programs, process);
      programs->forgotten++;
      return 1;
    }
    process->is_asked_for = 0;
    take_out(programs, process);
    put_newest(programs, process);
  }
  return 0;
}

static uint32_t free_place(struct pw_programs *programs)
{
  const uint32_t at = programs->free;
  if (at == NOBODY)
    return ++programs->made;
  programs->free = programs->processes[at].next_of_bucket;
  return at;
}

/* The process with the program, in place of another that had the pid. Takes over a use of the program. */
static void put(struct pw_programs *programs, uint32_t pid, uint64_t start_ns, struct pw_program *program,
                uint64_t since_ns, int is_by_number)
{
  struct process *former = find_pid(programs, pid);
  if (former != NULL)
    forget(programs, former);
  while (programs->count >= programs->max_processes)
    if (!forget_one(programs)) {
      let_go(programs, program);
      return;
    }
  const uint32_t at = free_place(programs);
  uint32_t *bucket = bucket_of(programs, pid);
  programs->processes[at] = (struct process){
      .start_ns = start_ns, .since_ns = since_ns, .now = program, .pid = pid, .next_of_bucket = *bucket,
      .is_by_number = (uint8_t)is_by_number};
  *bucket = at;
  programs->count++;
  put_newest(programs, &programs->processes[at]);
}

/* What is known since before that is doubtful. */
static uint64_t doubt_of(const struct pw_programs *programs, int is_by_number)
{
  return is_by_number && programs->numbers_doubt_ns > programs->doubt_ns ? programs->numbers_doubt_ns
                                                                         : programs->doubt_ns;
}

static int is_doubtful(const struct pw_programs *programs, const struct process *process)
{
  return process->since_ns < doubt_of(programs, process->is_by_number);
}

/* Of components, leaf first, as many as fit. */
static uint32_t whole_components(const char *path, uint32_t bytes)
{
  if (bytes <= PW_PROGRAM_PATH_BYTES)
    return bytes;
  for (bytes = PW_PROGRAM_PATH_BYTES; bytes > 0 && path[bytes - 1] != '\0';)
    bytes--;
  return bytes;
}

static uint8_t *put_executable(uint8_t *p, struct pw_program *program, const struct pw_exec *exec)
{
  const char *path = exec->data + exec->args_bytes;
  const uint32_t kept = whole_components(path, exec->exe_bytes);
  const int is_cut = (exec->head.flags & PW_EXE_CUT) || kept < exec->exe_bytes;
  if (exec->exe_bytes == 0 && !is_cut)
    return p;
  p = PUT(p, "executable");
  program->executable_at = (uint32_t)(p - program->pairs);
  p = pw_put_path(p, path, kept, is_cut);
  if (!is_cut)
    program->executable_bytes = (uint32_t)(p - program->pairs) - program->executable_at;
  program->pair_count++;
  return p;
}

static uint8_t *put_arguments(uint8_t *p, struct pw_program *program, const struct pw_exec *exec)
{
  const uint32_t kept = exec->args_bytes < PW_PROGRAM_ARGS_BYTES ? exec->args_bytes : PW_PROGRAM_ARGS_BYTES;
  if (!(exec->head.flags & PW_ARGS_UNREADABLE)) {
    p = pw_put_args(PUT(p, "args"), exec->data, kept);
    program->pair_count++;
  }
  program->pair_count++;
  return pw_put_uint(PUT(p, "args_count"), exec->argc);
}

/* With one use; NULL: out of memory, or it can have no room. */
static struct pw_program *new_program(struct pw_programs *programs, const struct pw_exec *exec)
{
  /* 16 more, as pw_put_text may write beyond. */
  _Alignas(struct pw_program) uint8_t buffer[sizeof(struct pw_program) + PW_PROGRAM_PAIRS_BYTES + 16];
  struct pw_program *made = (struct pw_program *)(void *)buffer;
  *made = (struct pw_program){.users = 1};
  memcpy(made->comm, exec->task.comm, sizeof made->comm);
  uint8_t *end = put_arguments(put_executable(made->pairs, made, exec), made, exec);
  made->pairs_bytes = (uint32_t)(end - made->pairs);
  while (programs->bytes + size_of(made) > programs->max_bytes)
    if (!forget_one(programs))
      return NULL;
  struct pw_program *kept = malloc(size_of(made));
  if (kept == NULL)
    return NULL;
  memcpy(kept, made, size_of(made));
  programs->bytes += size_of(kept);
  return kept;
}

static void note_exec(struct pw_programs *programs, const struct pw_exec *exec)
{
  const struct pw_task *task = &exec->task;
  struct pw_program *program = new_program(programs, exec);
  struct process *known = find_process(programs, task->pid, task->start_ns);
  programs->forgotten += program == NULL;
  if (known == NULL) {
    if (program != NULL)
      put(programs, task->pid, task->start_ns, program, exec->head.time_ns, 0);
    return;
  }
  if (program == NULL) { /* better nothing than the program that it no longer is */
    forget(programs, known);
    return;
  }
  let_go(programs, known->before);
  known->before = known->now;
  known->now = program;
  known->since_ns = exec->head.time_ns;
  known->is_by_number = 0;
}

static void note_fork(struct pw_programs *programs, const struct pw_fork *fork)
{
  const struct pw_task *child = &fork->task;
  /* Of another maker than the parent only the number is told. It lives while it makes the child. */
  const int is_by_number = child->maker_pid != 0 && child->maker_pid != child->parent_pid;
  const struct process *maker = is_by_number ? find_pid(programs, child->maker_pid)
                                             : find_process(programs, child->parent_pid, child->parent_start_ns);
  struct process *former = find_pid(programs, child->pid);
  if (former != NULL && former->start_ns == child->start_ns)
    return;
  /* A walk notes what a maker runs by then, which may be later than a fork that still waits in the ring. */
  if (maker == NULL || maker->has_ended || maker == former || maker->since_ns > fork->head.time_ns) {
    if (former != NULL)
      forget(programs, former);
    return;
  }
  maker->now->users++;
  const int is_number_told = is_by_number || maker->is_by_number;
  put(programs, child->pid, child->start_ns, maker->now,
      maker->since_ns < doubt_of(programs, is_number_told) ? maker->since_ns : fork->head.time_ns, is_number_told);
}

static void note_exit(struct pw_programs *programs, const struct pw_exit *exit)
{
  struct process *process = find_process(programs, exit->task.pid, exit->task.start_ns);
  if (process == NULL || process->has_ended)
    return;
  take_out(programs, process);
  process->has_ended = 1;
  put_newest(programs, process);
  if (programs->ended.count > programs->max_processes / PART_ENDED + 1)
    forget(programs, &programs->processes[programs->ended.oldest]);
}

void pw_programs_note(struct pw_programs *programs, const struct pw_head *head)
{
  const struct pw_exec *exec = (const struct pw_exec *)head;
  switch (head->kind) {
    case PW_EXEC:
      note_exec(programs, exec);
      break;
    case PW_STATE_PROCESS:
      if (exec->task.pid == 1 || programs->node_mnt_ns == 0)
        programs->node_mnt_ns = exec->task.mnt_ns;
      if (find_process(programs, exec->task.pid, exec->task.start_ns) == NULL)
        note_exec(programs, exec);
      break;
    case PW_FORK:
      note_fork(programs, (const struct pw_fork *)head);
      break;
    case PW_EXIT:
      note_exit(programs, (const struct pw_exit *)head);
      break;
    default:
      break;
  }
}

void pw_programs_doubt(struct pw_programs *programs, uint64_t time_ns)
{
  programs->doubt_ns = time_ns;
}

void pw_programs_doubt_numbers(struct pw_programs *programs, uint64_t time_ns)
{
  programs->numbers_doubt_ns = time_ns;
}

void pw_programs_known_until(struct pw_programs *programs, uint64_t time_ns)
{
  programs->known_until_ns = time_ns;
}

static int is_named(const struct pw_program *program, const char *comm)
{
  return program != NULL && strncmp(program->comm, comm, PW_COMM_BYTES) == 0;
}

const struct pw_program *pw_programs_find(struct pw_programs *programs, const struct pw_actor *actor)
{
  struct process *found = find_process(programs, actor->pid, actor->start_ns);
  if (found == NULL || actor->start_ns == 0)
    return NULL;
  found->is_asked_for = 1;
  if (actor->since_ns >= found->since_ns && !is_doubtful(programs, found) &&
      actor->time_ns <= programs->known_until_ns)
    return found->now;
  const int is_now = is_named(found->now, actor->comm), was_before = is_named(found->before, actor->comm);
  if (is_now == was_before)
    return NULL;
  return is_now ? found->now : found->before;
}

int pw_programs_exempt(struct pw_programs *programs, const char *paths, uint32_t bytes)
{
  free(programs->exempt);
  programs->exempt_bytes = 0;
  programs->exempt = malloc((size_t)bytes * 4 + 32); /* a NUL pays for the head of its string */
  if (programs->exempt == NULL)
    return PW_E_MEMORY;
  uint8_t *end = programs->exempt;
  for (uint32_t at = 0; at < bytes;) {
    const uint32_t length = (uint32_t)strnlen(paths + at, bytes - at);
    end = pw_put_text(end, (const uint8_t *)paths + at, length);
    at += length + 1;
  }
  programs->exempt_bytes = (size_t)(end - programs->exempt);
  return PW_OK;
}

/* Strings of msgpack begin with their length, so none is found across two others but by chance of their text:
 * hence the step from one to the next. */
static int is_among(const struct pw_programs *programs, const uint8_t *path, size_t bytes)
{
  const uint8_t *at = programs->exempt, *const end = at + programs->exempt_bytes;
  while (at < end) {
    const size_t length = *at < 0xc0 ? 1u + (*at & 31u) : *at == 0xd9 ? 2u + at[1] : 3u + (size_t)(at[1] << 8 | at[2]);
    if (length == bytes && memcmp(at, path, bytes) == 0)
      return 1;
    at += length;
  }
  return 0;
}

int pw_programs_is_exempt(struct pw_programs *programs, const struct pw_privilege *privilege)
{
  const struct pw_task *task = &privilege->task;
  if (programs->exempt_bytes == 0 || privilege->head.kind < PW_PRIVILEGE_FILE_READ || programs->node_mnt_ns == 0 ||
      task->mnt_ns != programs->node_mnt_ns)
    return 0;
  const struct process *process = find_process(programs, task->pid, task->start_ns);
  if (process == NULL || is_doubtful(programs, process) || process->since_ns > privilege->head.time_ns)
    return 0;
  const struct pw_program *program = process->now;
  return program->executable_bytes != 0 &&
         is_among(programs, program->pairs + program->executable_at, program->executable_bytes);
}

uint32_t pw_programs_count(const struct pw_programs *programs)
{
  return programs->count;
}

uint64_t pw_programs_forgotten(const struct pw_programs *programs)
{
  return programs->forgotten;
}

uint64_t pw_programs_bytes(const struct pw_programs *programs)
{
  return programs->bytes;
}

uint8_t *pw_put_program(uint8_t *p, const struct pw_event_clock *clock, const struct pw_actor *actor, unsigned *pairs)
{
  const struct pw_program *program = clock->programs != NULL ? pw_programs_find(clock->programs, actor) : NULL;
  if (program == NULL)
    return p;
  *pairs += program->pair_count;
  return pw_put_bytes(p, program->pairs, program->pairs_bytes);
}
