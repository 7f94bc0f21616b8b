/* exec, fork, exit and sessions; and who it was, in all records of what a process does. */
#include "event_encode.h"
#include "program.h"

enum { SETUID = 04000, SETGID = 02000 };

static const struct pw_task *task_of(const struct pw_head *head)
{
  return &((const struct pw_fork *)head)->task; /* stands in the same place in all */
}

/* Of an exec with the program, too: who started it is what one asks next. */
static uint8_t *put_parent(uint8_t *p, const struct pw_head *head, const struct pw_event_clock *clock)
{
  const struct pw_task *task = task_of(head);
  unsigned pairs = 2;
  p = PUT(p, "parent");
  uint8_t *const map = p = begin_map(p);
  p = pw_put_uint(PUT(p, "pid"), task->parent_pid);
  if (task->parent_start_ns != 0) {
    p = pw_put_entity_id(PUT(p, "entity_id"), clock->node_id, task->parent_start_ns, task->parent_pid);
    pairs++;
  }
  p = pw_put_comm(PUT(p, "name"), task->parent_comm);
  if (pw_is_exec(head->kind)) {
    const struct pw_actor parent = {task->parent_start_ns, head->time_ns, 0, task->parent_comm, task->parent_pid};
    p = pw_put_program(p, clock, &parent, &pairs);
  }
  end_map(map, pairs);
  return p;
}

static uint8_t *put_id_map(uint8_t *p, uint64_t id)
{
  return pw_put_decimal(PUT(pw_put_map_head(p, 1), "id"), id);
}

/* By name where they are what one asks for; all records have them as numbers. */
static uint8_t *put_thread(uint8_t *p, const struct pw_head *head, unsigned *pairs)
{
  const struct pw_task *task = task_of(head);
  const unsigned is_named = pw_is_exec(head->kind) || head->kind == PW_PRIVILEGE_CAPSET;
  const unsigned is_other = task->tid != task->pid;
  if (is_named + is_other == 0)
    return p;
  *pairs += 1;
  p = pw_put_map_head(PUT(p, "thread"), is_named + is_other);
  if (is_other)
    p = pw_put_uint(PUT(p, "id"), task->tid);
  return is_named ? pw_put_capability_names(p, task) : p;
}

/* The pairs of `process` that all kinds have, and the thread's. */
static uint8_t *put_task(uint8_t *p, const struct pw_head *head, const struct pw_event_clock *clock, unsigned *pairs)
{
  const struct pw_task *task = task_of(head);
  p = pw_put_uint(PUT(p, "pid"), task->pid);
  p = pw_put_comm(PUT(p, "name"), task->comm);
  p = pw_put_uint(PUT(p, "vpid"), task->namespace_pid);
  p = put_id_map(PUT(p, "user"), task->euid);
  p = put_id_map(PUT(p, "real_user"), task->uid);
  p = put_id_map(PUT(p, "real_group"), task->gid);
  p = put_id_map(PUT(p, "group"), task->egid);
  p = put_id_map(PUT(p, "saved_user"), task->suid);
  p = put_id_map(PUT(p, "saved_group"), task->sgid);
  *pairs += 9;
  if (task->start_ns != 0) {
    p = pw_put_entity_id(PUT(p, "entity_id"), clock->node_id, task->start_ns, task->pid);
    p = pw_put_date(PUT(p, "start"), task->start_ns + (uint64_t)clock->wall_offset_ns);
    *pairs += 2;
  }
  p = put_thread(p, head, pairs);
  if (task->parent_pid != 0) {
    p = put_parent(p, head, clock);
    *pairs += 1;
  }
  return pw_put_entry_leader(p, &task->entry, clock, pairs);
}

static uint8_t *put_tty(uint8_t *p, uint32_t device, unsigned *pairs)
{
  if (device == 0)
    return p;
  p = pw_put_map_head(PUT(pw_put_map_head(PUT(p, "tty"), 1), "char_device"), 2);
  p = pw_put_uint(PUT(p, "major"), device >> 20);
  p = pw_put_uint(PUT(p, "minor"), device & 0xfffff);
  p = pw_put_byte(PUT(p, "interactive"), 0xc3);
  *pairs += 2;
  return p;
}

static uint8_t *put_leaders(uint8_t *p, const struct pw_exec *exec, const struct pw_event_clock *clock,
                            unsigned *pairs)
{
  p = PUT(p, "group_leader");
  p = pw_put_process_ids(p, clock->node_id, exec->group_leader_start_ns, exec->group_leader_pid);
  p = PUT(p, "session_leader");
  p = pw_put_process_ids(p, clock->node_id, exec->session_leader_start_ns, exec->session_leader_pid);
  *pairs += 2;
  return p;
}

static const char *environment_of(const struct pw_exec *exec)
{
  return exec->data + exec->args_bytes + exec->exe_bytes + exec->cwd_bytes + exec->filename_bytes +
         exec->interpreter_bytes;
}

static uint8_t *put_exec_process(uint8_t *p, const struct pw_exec *exec, const struct pw_event_clock *clock,
                                 unsigned *pairs)
{
  const char *exe = exec->data + exec->args_bytes, *cwd = exe + exec->exe_bytes;
  const unsigned flags = exec->head.flags;
  if (exec->exe_bytes > 0 || (flags & PW_EXE_CUT)) {
    p = pw_put_path(PUT(p, "executable"), exe, exec->exe_bytes, flags & PW_EXE_CUT);
    *pairs += 1;
  }
  if (!(flags & PW_ARGS_UNREADABLE)) {
    p = pw_put_args(PUT(p, "args"), exec->data, exec->args_bytes);
    p = pw_put_command_line(PUT(p, "command_line"), exec->data, exec->args_bytes);
    *pairs += 2;
  }
  p = pw_put_uint(PUT(p, "args_count"), exec->argc);
  p = pw_put_path(PUT(p, "working_directory"), cwd, exec->cwd_bytes, flags & PW_CWD_CUT);
  *pairs += 2;
  p = put_leaders(p, exec, clock, pairs);
  p = put_tty(p, exec->tty_device, pairs);
  return pw_put_variables(p, clock, environment_of(exec), exec->environment_bytes, flags & PW_ENVIRONMENT_CUT, pairs);
}

/* A session starts before its first program is told: that comes next. */
static uint8_t *put_program(uint8_t *p, const struct pw_head *head, const struct pw_event_clock *clock, unsigned *pairs)
{
  const struct pw_task *task = task_of(head);
  const struct pw_actor actor = {task->start_ns, head->time_ns, 0 /* from the ring that programs are learnt from */,
                                 task->comm, task->pid};
  return head->kind == PW_SESSION_START ? p : pw_put_program(p, clock, &actor, pairs);
}

static uint8_t *put_process(uint8_t *p, const struct pw_head *head, const struct pw_event_clock *clock)
{
  unsigned pairs = 0;
  p = PUT(p, "process");
  uint8_t *const map = p = begin_long_map(p);
  p = put_task(p, head, clock, &pairs);
  if (pw_is_exec(head->kind))
    p = put_exec_process(p, (const struct pw_exec *)head, clock, &pairs);
  else
    p = put_program(p, head, clock, &pairs);
  if (head->kind == PW_SESSION_START)
    p = put_tty(p, ((const struct pw_session *)head)->tty_device, &pairs);
  if (head->kind == PW_EXIT && (((const struct pw_exit *)head)->status & 0x7f) == 0) {
    p = pw_put_uint(PUT(p, "exit_code"), ((const struct pw_exit *)head)->status >> 8 & 0xff);
    pairs++;
  }
  return end_long_map(map, p, pairs);
}

/* Names of the fields that the flags say are cut. */
static uint8_t *put_cut(uint8_t *p, unsigned flags, unsigned *pairs)
{
  static const struct {
    unsigned flag;
    char name[28];
  } cuts[] = {{PW_ARGS_CUT, "process.args"},
              {PW_EXE_CUT, "process.executable"},
              {PW_CWD_CUT, "process.working_directory"},
              {PW_FILENAME_CUT, "podwitness.exec.filename"},
              {PW_INTERPRETER_CUT, "podwitness.exec.interpreter"},
              {PW_ENVIRONMENT_CUT, "process.env_vars"}};
  const unsigned cut = flags & (PW_ARGS_CUT | PW_EXE_CUT | PW_CWD_CUT | PW_FILENAME_CUT | PW_INTERPRETER_CUT |
                                PW_ENVIRONMENT_CUT);
  if (cut == 0)
    return p;
  p = pw_put_array_head(PUT(p, "cut"), (uint32_t)__builtin_popcount(cut));
  for (unsigned at = 0; at < sizeof cuts / sizeof cuts[0]; at++)
    if (cut & cuts[at].flag)
      p = put_literal(p, cuts[at].name, strlen(cuts[at].name));
  *pairs += 1;
  return p;
}

static uint8_t *put_namespaces(uint8_t *p, const struct pw_task *task)
{
  p = pw_put_map_head(PUT(p, "namespaces"), 7);
  p = pw_put_uint(PUT(p, "mnt"), task->mnt_ns);
  p = pw_put_uint(PUT(p, "pid"), task->pid_ns);
  p = pw_put_uint(PUT(p, "net"), task->net_ns);
  p = pw_put_uint(PUT(p, "user"), task->user_ns);
  p = pw_put_uint(PUT(p, "uts"), task->uts_ns);
  p = pw_put_uint(PUT(p, "ipc"), task->ipc_ns);
  return pw_put_uint(PUT(p, "cgroup"), task->cgroup_ns);
}

uint8_t *pw_put_device(uint8_t *p, uint32_t device)
{
  uint8_t *text = p + 1, *middle = pw_put_decimal(p, device >> 20), *end = pw_put_decimal(middle, device & 0xfffff);
  *middle = ':'; /* in place of the second number's header */
  pw_put_str_head(p, (uint32_t)(end - text));
  return end;
}

uint8_t *pw_put_mode(uint8_t *p, uint32_t mode)
{
  p = pw_put_str_head(p, 4);
  for (int shift = 9; shift >= 0; shift -= 3)
    *p++ = (uint8_t)('0' + (mode >> shift & 7));
  return p;
}

/* Of an exec that gave others. */
static uint8_t *put_before(uint8_t *p, const struct pw_credentials *before)
{
  p = pw_put_map_head(PUT(p, "before"), 4);
  p = pw_put_decimal(PUT(p, "user_id"), before->old_euid);
  p = pw_put_decimal(PUT(p, "group_id"), before->old_egid);
  p = pw_put_hex64(PUT(p, "capabilities_effective"), before->old_cap_effective);
  return pw_put_hex64(PUT(p, "capabilities_permitted"), before->old_cap_permitted);
}

/* Pairs that only some execs have. */
static uint8_t *put_oddities(uint8_t *p, const struct pw_exec *exec, unsigned *pairs)
{
  const unsigned flags = exec->head.flags;
  if (flags & PW_SCRIPT) {
    const char *interpreter = environment_of(exec) - exec->interpreter_bytes;
    p = pw_put_text(PUT(p, "interpreter"), (const uint8_t *)interpreter, exec->interpreter_bytes);
    *pairs += 1;
  }
  if (flags & PW_ARGS_CUT)
    p = PUT_UNLESS_0(p, "args_bytes", exec->args_total_bytes, pairs);
  if (flags & PW_ENVIRONMENT_CUT)
    p = PUT_UNLESS_0(p, "environment_bytes", exec->environment_total_bytes, pairs);
  p = PUT_IF_TRUE(p, "args_unreadable", flags & PW_ARGS_UNREADABLE, pairs);
  p = PUT_IF_TRUE(p, "memfd", flags & PW_MEMFD, pairs);
  p = PUT_IF_TRUE(p, "drift", flags & PW_UPPER_LAYER, pairs);
  p = PUT_IF_TRUE(p, "deleted", flags & PW_DELETED, pairs);
  p = PUT_IF_TRUE(p, "setuid", exec->mode & SETUID, pairs);
  p = PUT_IF_TRUE(p, "setgid", exec->mode & SETGID, pairs);
  if (flags & PW_CREDENTIALS_CHANGED) {
    p = put_before(p, &exec->before);
    *pairs += 1;
  }
  return p;
}

static uint8_t *put_exec(uint8_t *p, const struct pw_exec *exec)
{
  const char *filename = exec->data + exec->args_bytes + exec->exe_bytes + exec->cwd_bytes;
  unsigned pairs = 3;
  p = PUT(p, "exec");
  uint8_t *const map = p = begin_map(p);
  if (exec->head.kind == PW_EXEC) {
    p = pw_put_text(PUT(p, "filename"), (const uint8_t *)filename, exec->filename_bytes);
    pairs++;
  }
  p = pw_put_uint(PUT(p, "inode"), exec->inode);
  p = pw_put_device(PUT(p, "device"), exec->device);
  p = pw_put_mode(PUT(p, "mode"), exec->mode);
  p = put_oddities(p, exec, &pairs);
  if (exec->tty_device != 0) {
    p = pw_put_text(PUT(p, "tty"), (const uint8_t *)exec->tty, (uint32_t)strnlen(exec->tty, PW_TTY_BYTES));
    pairs++;
  }
  end_map(map, pairs);
  return p;
}

uint8_t *pw_put_signal(uint8_t *p, unsigned number)
{
  static const struct pw_word names[] = {
      PW_WORD("SIG0"),    PW_WORD("SIGHUP"),  PW_WORD("SIGINT"),    PW_WORD("SIGQUIT"), PW_WORD("SIGILL"),
      PW_WORD("SIGTRAP"), PW_WORD("SIGABRT"), PW_WORD("SIGBUS"),    PW_WORD("SIGFPE"),  PW_WORD("SIGKILL"),
      PW_WORD("SIGUSR1"), PW_WORD("SIGSEGV"), PW_WORD("SIGUSR2"),   PW_WORD("SIGPIPE"), PW_WORD("SIGALRM"),
      PW_WORD("SIGTERM"), PW_WORD("SIGSTKFLT"), PW_WORD("SIGCHLD"), PW_WORD("SIGCONT"), PW_WORD("SIGSTOP"),
      PW_WORD("SIGTSTP"), PW_WORD("SIGTTIN"), PW_WORD("SIGTTOU"),   PW_WORD("SIGURG"),  PW_WORD("SIGXCPU"),
      PW_WORD("SIGXFSZ"), PW_WORD("SIGVTALRM"), PW_WORD("SIGPROF"), PW_WORD("SIGWINCH"), PW_WORD("SIGIO"),
      PW_WORD("SIGPWR"),  PW_WORD("SIGSYS")};
  if (number < sizeof names / sizeof names[0])
    return put_word(p, &names[number]);
  uint8_t *const end = pw_put_decimal(p + 3, number); /* a real-time signal: SIG34 */
  memcpy(p + 1, "SIG", 3);
  pw_put_str_head(p, (uint32_t)(end - p - 1));
  return end;
}

static uint8_t *put_exit(uint8_t *p, const struct pw_exit *exit)
{
  const unsigned signal = exit->status & 0x7f;
  unsigned pairs = 3;
  p = PUT(p, "exit");
  uint8_t *const map = p = begin_map(p);
  p = pw_put_uint(PUT(p, "peak_memory_bytes"), exit->peak_memory_bytes);
  p = pw_put_uint(PUT(p, "user_cpu_ns"), exit->user_ns_total);
  p = pw_put_uint(PUT(p, "system_cpu_ns"), exit->system_ns_total);
  if (signal != 0) {
    p = pw_put_signal(PUT(p, "signal"), signal);
    p = pw_put_uint(PUT(p, "signal_number"), signal);
    pairs += 2;
  }
  p = PUT_IF_TRUE(p, "core_dumped", exit->status & 0x80, &pairs);
  end_map(map, pairs);
  return p;
}

/* As in /proc/PID/status. What most processes have none of is left out then. */
static uint8_t *put_capabilities(uint8_t *p, const struct pw_task *task, unsigned *pairs)
{
  p = pw_put_hex64(PUT(p, "capabilities_effective"), task->cap_effective);
  p = pw_put_hex64(PUT(p, "capabilities_permitted"), task->cap_permitted);
  *pairs += 2;
  if (task->cap_inheritable != 0) {
    p = pw_put_hex64(PUT(p, "capabilities_inheritable"), task->cap_inheritable);
    *pairs += 1;
  }
  if (task->cap_ambient != 0) {
    p = pw_put_hex64(PUT(p, "capabilities_ambient"), task->cap_ambient);
    *pairs += 1;
  }
  return p;
}

static uint8_t *put_login(uint8_t *p, const struct pw_task *task, unsigned *pairs)
{
  if (task->loginuid != UINT32_MAX) {
    p = pw_put_decimal(PUT(p, "login_user_id"), task->loginuid);
    *pairs += 1;
  }
  if (task->audit_session != UINT32_MAX) {
    p = pw_put_decimal(PUT(p, "audit_session_id"), task->audit_session);
    *pairs += 1;
  }
  return p;
}

static uint8_t *put_podwitness(uint8_t *p, const struct pw_head *head, uint32_t scope,
                               const struct pw_event_clock *clock)
{
  const struct pw_task *task = task_of(head);
  unsigned pairs = 3;
  p = PUT(p, "podwitness");
  uint8_t *const map = p = begin_map(p);
  p = pw_put_scope(p, scope, head->cgroup_id);
  p = put_namespaces(p, task);
  p = put_capabilities(p, task, &pairs);
  p = put_login(p, task, &pairs);
  p = pw_put_tree(p, head, &task->entry, scope, clock, &pairs);
  if (pw_is_exec(head->kind)) {
    p = pw_put_ancestors(p, (const struct pw_exec *)head, clock, &pairs);
    p = put_cut(p, head->flags, &pairs);
    p = put_exec(p, (const struct pw_exec *)head);
    pairs++;
  }
  if (head->kind == PW_EXIT) {
    p = put_exit(p, (const struct pw_exit *)head);
    pairs++;
  }
  if (pw_is_privilege(head->kind)) {
    p = pw_put_privilege(p, (const struct pw_privilege *)head, clock);
    pairs++;
  }
  end_map(map, pairs);
  return p;
}

/* 0 where it has no meaning. */
static uint64_t duration_of(const struct pw_head *head)
{
  if (head->kind == PW_SESSION_END)
    return ((const struct pw_session *)head)->duration_ns;
  return head->kind == PW_EXIT ? ((const struct pw_exit *)head)->duration_ns : 0;
}

static unsigned errno_of(const struct pw_head *head)
{
  return pw_is_privilege(head->kind) ? pw_privilege_errno((const struct pw_privilege *)head) : 0;
}

static int outcome_of(const struct pw_head *head, unsigned error)
{
  if (pw_is_privilege(head->kind) && pw_privilege_is_request((const struct pw_privilege *)head))
    return PW_NOT_KNOWN;
  const int is_failure = error != 0 || (head->kind == PW_EXIT && ((const struct pw_exit *)head)->status != 0);
  return is_failure ? PW_FAILED : PW_SUCCEEDED;
}

static const struct pw_privilege *file_of(const struct pw_head *head)
{
  const struct pw_privilege *privilege = (const struct pw_privilege *)head;
  return pw_is_privilege(head->kind) && pw_privilege_has_file(privilege) ? privilege : NULL;
}

uint32_t pw_process_event_pairs(const struct pw_head *head)
{
  return 4 + (errno_of(head) != 0) + (file_of(head) != NULL);
}

uint8_t *pw_put_process_event(uint8_t *p, const struct pw_head *head, uint32_t scope,
                              const struct pw_event_clock *clock)
{
  const unsigned error = errno_of(head);
  p = pw_put_event_map(p, head->kind, outcome_of(head, error), duration_of(head));
  p = put_process(p, head, clock);
  p = pw_put_user(p, task_of(head)->euid);
  if (error != 0)
    p = pw_put_errno(PUT(pw_put_map_head(PUT(p, "error"), 1), "code"), error);
  if (file_of(head) != NULL)
    p = pw_put_file(p, file_of(head));
  return put_podwitness(p, head, scope, clock);
}
