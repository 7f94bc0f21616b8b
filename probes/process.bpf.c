/* Processes: what is executed, by whom, what it starts, and how it ends. */
#include "binary.h"
#include "dialect.h"
#include "emit.h"
#include "events.h"
#include "path.h"
#include "task.h"

#define SIGNAL_GROUP_EXIT 4 /* signal_struct.flags: group_exit_code is valid */
#define THREADS_WALKED 64   /* threads of a dying group that are not yet reaped; few, see exit below */

_Static_assert(PW_VALUE_BYTES_exec_scratch == sizeof(struct pw_exec) + PW_EXEC_DATA_BYTES, "scratch of exec");

/* The kernel has just written argv to the new stack, one string after the other. */
static __always_inline void fill_args(struct pw_exec *exec, struct mm_struct *mm)
{
  u64 start = FIELD(mm, arg_start);
  u64 total = FIELD(mm, arg_end) - start;
  u64 kept = total;
  exec->args_total_bytes = total;
  if (total > PW_ARGS_BYTES) {
    kept = PW_ARGS_BYTES;
    exec->head.flags |= PW_ARGS_CUT;
  }
  BOUND(kept, 2 * PW_ARGS_BYTES - 1);
  if (kept > PW_ARGS_BYTES)
    kept = PW_ARGS_BYTES;
  if (bpf_probe_read_user(exec->data, kept, (void *)start)) {
    exec->head.flags |= PW_ARGS_UNREADABLE;
    kept = 0;
  }
  exec->args_bytes = kept;
}

/* Where the next path goes. The verifier has to see that the longest still fits. */
#define PATH_START(at) \
  BOUND(at, PW_EXEC_DATA_BYTES - 1); \
  if (at > PW_ARGS_BYTES + PW_PATH_BYTES) \
    return;

static __always_inline void append_exe(struct pw_exec *exec, u64 at, struct file *file)
{
  PATH_START(at);
  if (!write_path(exec->data + at, &exec->exe_bytes, FIELD(file, f_path.dentry), FIELD(file, f_path.mnt)))
    exec->head.flags |= PW_EXE_CUT;
}

static __always_inline void append_cwd(struct pw_exec *exec, u64 at, struct fs_struct *fs)
{
  PATH_START(at);
  if (!write_path(exec->data + at, &exec->cwd_bytes, FIELD(fs, pwd.dentry), FIELD(fs, pwd.mnt)))
    exec->head.flags |= PW_CWD_CUT;
}

/* One byte more than is kept and the NUL, to see whether the name was longer. */
static __always_inline u64 append_filename(struct pw_exec *exec, u64 at, const char *filename)
{
  long bytes;
  BOUND(at, PW_EXEC_DATA_BYTES - 1);
  if (at > PW_EXEC_DATA_BYTES - PW_FILENAME_BYTES - 2)
    return 0;
  bytes = bpf_probe_read_kernel_str(exec->data + at, PW_FILENAME_BYTES + 2, filename);
  if (bytes <= 0)
    return 0;
  if (bytes - 1 > PW_FILENAME_BYTES) {
    exec->head.flags |= PW_FILENAME_CUT;
    return PW_FILENAME_BYTES;
  }
  return bytes - 1;
}

/* The new image stands, nothing of it has run. A thread that executes has already become the group's leader,
 * with the old leader's start time: the entity stays. */
PROGRAM(sched_process_exec)
{
  struct task_struct *task = ARGUMENT(0);
  struct linux_binprm *binary = ARGUMENT(2);
  struct mm_struct *mm = FIELD(task, mm);
  struct file *file = FIELD(mm, exe_file);
  struct fs_struct *fs = FIELD(task, fs);
  u64 bytes;
  u32 zero = 0;
  struct pw_exec *exec = map_lookup(MAP(exec_scratch), &zero);
  if (!exec)
    return 0;
  __builtin_memset(exec, 0, sizeof(*exec));
  if (!begin(&exec->head, PW_EXEC, cgroup_id_of(task)))
    return 0;
  fill_task(&exec->task, task);
  exec->argc = FIELD(binary, argc);
  fill_binary(exec, file);
  fill_args(exec, mm);
  bytes = exec->args_bytes;
  append_exe(exec, bytes, file);
  bytes += exec->exe_bytes;
  append_cwd(exec, bytes, fs);
  bytes += exec->cwd_bytes;
  exec->filename_bytes = append_filename(exec, bytes, FIELD(binary, filename));
  bytes += exec->filename_bytes;
  BOUND(bytes, PW_EXEC_DATA_BYTES - 1);
  bytes += sizeof(*exec);
  exec->head.record_bytes = bytes;
  output(exec, PW_EXEC, bytes);
  return 0;
}

/* The child is complete but has not run: its namespaces, cgroup and credentials are those it starts with. */
PROGRAM(sched_process_fork)
{
  struct task_struct *child = ARGUMENT(1);
  struct pw_fork *fork;
  if (FIELD(child, pid) != FIELD(child, tgid)) /* a thread */
    return 0;
  fork = RESERVE(pw_fork, PW_FORK, cgroup_id_of(child));
  if (!fork)
    return 0;
  fill_task(&fork->task, child);
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
  sum->user_ticks_ns += PROBED(thread, utime);
  sum->system_ticks_ns += PROBED(thread, stime);
  sum->run_ns += PROBED(thread, se.sum_exec_runtime);
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
    struct task_struct *thread = (struct task_struct *)((char *)node - OFF_task_struct__thread_node);
    if (thread != last)
      add_other_thread(&sum, thread);
    node = PROBED(node, next);
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
static __always_inline bool is_last_thread(u64 *ctx, struct signal_struct *signal, struct task_struct *leader)
{
#if ARGUMENTS_sched_process_exit >= 2
  return (bool)ctx[1];
#else
  struct { u64 start_ns; u64 pid; } process = {};
  u8 present = 1;
  if (FIELD(signal, live.counter) != 0)
    return false;
  process.start_ns = FIELD(leader, start_boottime);
  process.pid = FIELD(leader, pid);
  return map_update(MAP(exited), &process, &present, 1 /* BPF_NOEXIST */) == 0;
#endif
}

PROGRAM(sched_process_exit)
{
  struct task_struct *task = ARGUMENT(0);
  struct signal_struct *signal = FIELD(task, signal);
  struct task_struct *leader = FIELD(task, group_leader);
  struct pw_exit *exit;
  if (!is_last_thread(ctx, signal, leader))
    return 0;
  exit = RESERVE(pw_exit, PW_EXIT, cgroup_id_of(task));
  if (!exit)
    return 0;
  /* The last thread still has namespaces and credentials, a leader that ended before has not. The name is the
   * process's, which is the leader's. */
  fill_task(&exit->task, task);
  exit->task.tid = exit->task.pid;
  copy_comm(exit->task.comm, leader);
  exit->duration_ns = exit->head.time_ns - exit->task.start_ns;
  exit->status = exit_status(signal, leader);
  fill_cpu_time(exit, cpu_time_of_group(signal, task));
  submit(exit, PW_EXIT);
  return 0;
}
