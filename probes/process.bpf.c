/* Processes: what is executed, by whom, what it starts, and how it ends. */
#include "dialect.h"
#include "emit.h"
#include "events.h"
#include "exec.h"
#include "session.h"
#include "task.h"

#define SIGNAL_GROUP_EXIT 4 /* signal_struct.flags: group_exit_code is valid */

#define THREADS_WALKED 64   /* threads of a dying group that are not yet reaped; few, see exit below */

struct process_key {
  u64 start_ns;
  u64 pid;
};

_Static_assert(PW_VALUE_BYTES_exec_scratch == sizeof(struct pw_exec) + PW_EXEC_DATA_BYTES, "scratch of exec");
_Static_assert(PW_KEY_BYTES_adopted == sizeof(struct process_key), "key of adopted");

/* Worked out of a process that is older than the probes. Of several threads that come to it at once the others do
 * without its being kept, as where there is no place. */
static __always_inline struct process_state *adopt(u32 pid, struct process_state *state)
{
  struct process_key key = {.start_ns = state->start_ns, .pid = pid};
  struct process_state *known, *place;
  u8 present = 1;
  if (map_update(MAP(adopted), &key, &present, MAP_NOEXIST))
    return state;
  known = find_state(pid, state->start_ns);
  place = known ? known : place_for_process(pid);
  if (!place)
    count_lost(PW_UNTRACKED);
  if (place && !known) {
    __builtin_memcpy(&place->entry, &state->entry, sizeof(*state) - __builtin_offsetof(struct process_state, entry));
    *(volatile u64 *)&place->start_ns = key.start_ns;
    if (is_in_session(state))
      join_session(state, key.start_ns);
  }
  map_delete(MAP(adopted), &key);
  return place ? place : state;
}

/* What is known of a process; of one older than the probes it is worked out, and kept if there is room. NULL for
 * one that has ended. */
static __always_inline struct process_state *state_of(struct task_struct *leader, u32 scratch)
{
  u32 pid = FIELD(leader, tgid);
  struct process_state *state = find_state(pid, FIELD(leader, start_boottime));
  if (state)
    return state;
  state = process_scratch(scratch);
  if (!state || !work_out_state(state, leader))
    return 0;
  take_home(state->home);
  map_update(MAP(mounts), &state->mounts, &state->home, MAP_NOEXIST);
  return adopt(pid, state);
}

/* What state_of() returned. To look again costs nanoseconds, as the places are an array; to keep the pointer would
 * have the verifier check twice all that comes between: with a state, and without. */
static __always_inline struct process_state *state_again(u32 pid, u64 start_ns, u32 scratch)
{
  struct process_state *state = find_state(pid, start_ns);
  if (state)
    return state;
  state = process_scratch(scratch);
  return state && state->start_ns == start_ns ? state : 0;
}

/* Where a process has come to since it was last looked at. A tree that it left is over for it. */
static __always_inline void follow(struct process_state *state, struct task_struct *leader)
{
  struct pw_entry before = state->entry;
  bool was_in_session = is_in_session(state);
  settle(state, leader);
  if (was_in_session && !state->is_executed)
    leave_session(&before, leader);
}

/* They were noted for an exec that is not told: the next is not to tell them as its own. */
static __always_inline void forget_credentials(struct task_struct *leader)
{
  struct process_state *state = find_state(FIELD(leader, tgid), FIELD(leader, start_boottime));
  if (state)
    state->has_before = 0;
}

/* The new image stands, nothing of it has run. A thread that executes has already become the group's leader,
 * with the old leader's start time: the entity stays. */
PROGRAM(sched_process_exec)
{
  struct task_struct *argument = ARGUMENT(0), *task = TYPED(task_struct, argument);
  struct linux_binprm *binary = TYPED(linux_binprm, ARGUMENT(2));
  struct mm_struct *mm = FIELD(task, mm);
  struct file *file = FIELD(mm, exe_file);
  struct fs_struct *fs = FIELD(task, fs);
  struct process_state *state = state_of(task, SCRATCH_OF_MAKER);
  u64 bytes;
  u32 zero = 0;
  struct pw_exec *exec = map_lookup(MAP(exec_scratch), &zero);
  if (!exec)
    return 0;
  if (state) {
    follow(state, task);
    if (!state->is_executed)
      begin_entry(state, task, FIELD(task, tgid));
  }
  if (!begin(&exec->head, PW_EXEC, state ? FORGOTTEN(state->cgroup_id) : cgroup_id_of(task))) {
    forget_credentials(task);
    return 0;
  }
  __builtin_memset(&exec->before, 0, sizeof(*exec) - __builtin_offsetof(struct pw_exec, before));
  fill_task_only(&exec->task, argument);
  fill_leaders(exec, task);
  exec->tty_device = fill_tty(exec->tty, task);
  exec->argc = FIELD(binary, argc);
  fill_binary(exec, file);
  fill_args(exec, mm);
  bytes = FORGOTTEN(exec->args_bytes);
  append_exe(exec, bytes, file);
  bytes += exec->exe_bytes;
  append_cwd(exec, bytes, fs);
  bytes += exec->cwd_bytes;
  exec->filename_bytes =
    append_given(exec, bytes, FIELD(binary, filename), PW_FILENAME_BYTES, PW_FILENAME_CUT);
  bytes += FORGOTTEN(exec->filename_bytes);
  append_interpreter(exec, bytes, binary);
  bytes += FORGOTTEN(exec->interpreter_bytes);
#ifdef PW_TELL_ENVIRONMENT
  exec->environment_bytes = append_environment(exec, bytes, mm);
  bytes += FORGOTTEN(exec->environment_bytes);
#endif
  state = state_again(exec->task.pid, exec->task.start_ns, SCRATCH_OF_MAKER);
  tell_tree(&exec->task, state);
  if (state) {
    fill_old_credentials(exec, state);
    bytes += append_ancestors(exec, bytes, state);
  }
  BOUND(bytes, DATA_MASK);
  if (bytes > PW_EXEC_DATA_BYTES)
    return 0;
  bytes += sizeof(*exec);
  exec->head.record_bytes = bytes;
  output(exec, PW_EXEC, bytes);
  return 0;
}

/* Before the old image is given up: the only time when the credentials of both are there. Since 6.10. */
PROGRAM(sched_prepare_exec)
{
  struct task_struct *task = TYPED(task_struct, ARGUMENT(0));
  struct linux_binprm *binary = TYPED(linux_binprm, ARGUMENT(1));
  struct task_struct *leader = FIELD(task, group_leader);
  struct cred *old = (struct cred *)FIELD(task, cred), *new = (struct cred *)FIELD(binary, cred);
  struct process_state *state;
  struct pw_credentials before = {
    .old_cap_effective = CAPABILITIES(old, cap_effective),
    .old_cap_permitted = CAPABILITIES(old, cap_permitted),
    .old_euid = FIELD(old, euid.val),
    .old_egid = FIELD(old, egid.val),
  };
  if (before.old_euid == FIELD(new, euid.val) && before.old_egid == FIELD(new, egid.val) &&
      before.old_cap_effective == CAPABILITIES(new, cap_effective) &&
      before.old_cap_permitted == CAPABILITIES(new, cap_permitted))
    return 0;
  state = find_state(FIELD(task, tgid), FIELD(leader, start_boottime));
  if (!state)
    return 0;
  state->before = before;
  state->has_before = 1;
  return 0;
}

/* The child's state. NULL: nothing is known of its maker. The child is found by it once start_ns is there, which is
 * written last. */
static __always_inline struct process_state *state_of_child(struct task_struct *maker, struct task_struct *child)
{
  u32 pid = FIELD(child, tgid);
  struct process_state *known = state_of(maker, SCRATCH_OF_MAKER), *state;
  bool is_kept;
  if (!known)
    return 0;
  follow(known, maker);
  state = place_for_process(pid);
  is_kept = state != 0;
  if (!is_kept) {
    count_lost(PW_UNTRACKED);
    state = process_scratch(SCRATCH_OF_CHILD);
  }
  if (!state)
    return 0;
  inherit(state, known);
  note_ancestor(&state->ancestor[0], maker);
  settle(state, child);
  if (is_kept && is_in_session(state))
    join_session(state, 0);
  *(volatile u64 *)&state->start_ns = FIELD(child, start_boottime);
  return state;
}

/* The child is complete but has not run: its namespaces, cgroup and credentials are those it starts with. Its
 * maker may be another than its parent: CLONE_PARENT. */
PROGRAM(sched_process_fork)
{
  struct task_struct *thread = TYPED(task_struct, ARGUMENT(0));
  struct task_struct *argument = ARGUMENT(1), *child = TYPED(task_struct, argument);
  struct process_state *state;
  struct pw_fork *fork;
  if (FIELD(argument, pid) != FIELD(argument, tgid)) /* a thread */
    return 0;
  state = state_of_child(FIELD(thread, group_leader), child);
  fork = RESERVE_PART(pw_fork, 0, PW_FORK, state ? FORGOTTEN(state->cgroup_id) : cgroup_id_of(child));
  if (!fork)
    return 0;
  fill_task_only(&fork->task, argument);
  fork->task.maker_pid = FIELD(thread, tgid);
  tell_tree(&fork->task, state);
  submit(fork, PW_FORK);
  return 0;
}

struct cpu_time {
  u64 user_ticks_ns; /* what the timer tick saw, in either mode */
  u64 system_ticks_ns;
  u64 run_ns; /* exact */
};

static __always_inline void add_other_thread(struct cpu_time *sum, struct task_struct *thread)
{
  sum->user_ticks_ns += FOLLOWED(thread, utime);
  sum->system_ticks_ns += FOLLOWED(thread, stime);
  sum->run_ns += FOLLOWED(thread, se.sum_exec_runtime);
}

/* Threads that were reaped have left their sums in signal_struct. Still listed, beside `last`, are the leader,
 * which waits for its parent, and threads between do_exit() and their reaping. */
static __always_inline struct cpu_time cpu_time_of_group(struct signal_struct *signal, struct task_struct *last)
{
  struct cpu_time sum = {
    .user_ticks_ns = FIELD(signal, utime) + FIELD(last, utime),
    .system_ticks_ns = FIELD(signal, stime) + FIELD(last, stime),
    .run_ns = FIELD(signal, sum_sched_runtime) + FIELD(last, se.sum_exec_runtime),
  };
  struct list_head *end = (struct list_head *)((char *)signal + OFF_signal_struct__thread_head);
  struct list_head *node = FIELD(signal, thread_head.next);
  for (int walked = 0; walked < THREADS_WALKED && node != end && node; walked++) {
    struct task_struct *thread = TYPED(task_struct, (char *)node - OFF_task_struct__thread_node);
    if (thread != last)
      add_other_thread(&sum, thread);
    node = FOLLOWED(node, next);
  }
  return sum;
}

/* As cputime_adjust() in the kernel: the exact run time, split in the proportion that the ticks saw. Too short
 * for a tick, it counts as system time: an exec and an exit are the kernel's work for the most part. */
static __always_inline void fill_cpu_time(struct pw_exit *exit, struct cpu_time sum)
{
  u64 system_us = sum.system_ticks_ns / 1000, ticks_us = system_us + sum.user_ticks_ns / 1000;
  exit->system_ns_total = sum.run_ns;
  if (ticks_us) /* in parts of 1024, since the product of two times in ns overflows after 4 s */
    exit->system_ns_total = sum.run_ns / 1024 * (system_us * 1024 / ticks_us);
  exit->user_ns_total = sum.run_ns - exit->system_ns_total;
}

/* What wait(2) reports, as wait_task_zombie() finds it: exit_group() and fatal signals count for the group,
 * else the leader's own code does, even if it ended long before the last thread. */
static __always_inline u32 exit_status(struct signal_struct *signal, struct task_struct *leader)
{
  if (FIELD(signal, flags) & SIGNAL_GROUP_EXIT)
    return FIELD(signal, group_exit_code);
  return FIELD(leader, exit_code);
}

/*  thread A: do_exit()                      thread B: do_exit()
 *    atomic_dec_and_test(&signal->live)
 *                                             atomic_dec_and_test(&signal->live)   0: the group is dead
 *    sched_process_exit                        sched_process_exit
 *
 * From 6.16 on the tracepoint says which of the two saw the 0. Before, both see live == 0, so the first to put
 * the process into `exited` speaks for it. */
static __always_inline bool is_last_thread(u64 *ctx, struct task_struct *leader)
{
#if ARGUMENTS_sched_process_exit >= 2
  return (bool)ctx[1];
#else
  struct process_key process = {};
  u8 present = 1;
  if (is_alive(leader))
    return false;
  process.start_ns = FIELD(leader, start_boottime);
  process.pid = FIELD(leader, pid);
  return map_update(MAP(exited), &process, &present, 1 /* BPF_NOEXIST */) == 0;
#endif
}

static __always_inline void emit_exit(struct task_struct *task, struct process_state *state)
{
  struct signal_struct *signal = FIELD(task, signal);
  struct task_struct *leader = FIELD(task, group_leader);
  struct pw_exit *exit = RESERVE_PART(pw_exit, 0, PW_EXIT, cgroup_id_of(task));
  if (!exit)
    return;
  /* The last thread still has namespaces and credentials, a leader that ended before has not. The name is the
   * process's, which is the leader's. */
  fill_task_only(&exit->task, task);
  tell_tree(&exit->task, state);
  exit->task.tid = exit->task.pid;
  copy_comm(exit->task.comm, leader);
  exit->duration_ns = exit->head.time_ns - exit->task.start_ns;
  exit->status = exit_status(signal, leader);
  exit->peak_memory_bytes = (u64)FIELD(signal, maxrss) * PAGE_SIZE; /* do_exit() has just brought it up to date */
  exit->pad = 0;
  fill_cpu_time(exit, cpu_time_of_group(signal, task));
  submit(exit, PW_EXIT);
}

PROGRAM(sched_process_exit)
{
  struct task_struct *task = TYPED(task_struct, ARGUMENT(0));
  struct task_struct *leader = FIELD(task, group_leader);
  u32 pid = FIELD(leader, tgid);
  struct process_state *state;
  if (!is_last_thread(ctx, leader))
    return 0;
  state = find_state(pid, FIELD(leader, start_boottime));
  emit_exit(task, state);
  if (!state)
    return 0;
  if (is_in_session(state))
    leave_session(&state->entry, task);
  forget_process(state);
  return 0;
}

/* A walk over all processes, once the other programs are attached. */
PROGRAM(bpf_iter_task)
{
  struct task_struct *task = ARGUMENT(1);
  if (!task)
    return 0;
  task = TYPED(task_struct, task);
  if (FIELD(task, pid) == FIELD(task, tgid))
    state_of(task, SCRATCH_OF_WALK);
  return 0;
}
