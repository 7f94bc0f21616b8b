/* What crosses the border of a container or is done to it, as far as tracepoints of its own tell it. None of
 * these is on the way of an ordinary system call. */
#include "dialect.h"
#include "emit.h"
#include "events.h"
#include "target.h"
#include "task.h"

/* uapi/linux/sched.h: all CLONE_NEW*, CLONE_NEWTIME too */
#define CLONE_NEW_NAMESPACES 0x7e020080ull

/* siginfo of a signal without one: 0 was sent by a process, 1 is the kernel's own */
#define SEND_SIG_NOINFO 0ul
#define SEND_SIG_PRIV 1ul
#define SI_USER 0
#define SI_QUEUE -1
#define SI_TKILL -6

#define DEFAULT_HIERARCHY 0 /* as in cgroup.bpf.c */

static __always_inline bool is_sent_by_a_process(struct kernel_siginfo *info)
{
  s32 code;
  if ((unsigned long)info == SEND_SIG_NOINFO)
    return true;
  if ((unsigned long)info == SEND_SIG_PRIV)
    return false;
  code = FIELD(info, si_code);
  return code == SI_USER || code == SI_QUEUE || code == SI_TKILL;
}

/* result: TRACE_SIGNAL_DELIVERED 0, IGNORED 1, ALREADY_PENDING 2, OVERFLOW_FAIL 3, LOSE_INFO 4. Within a cgroup
 * signals are a container's own affair; of two cgroups the collector knows whose they are. Not asked: the
 * pid namespace, since a pod's containers may share it. */
PROGRAM(signal_generate)
{
  struct kernel_siginfo *info = ARGUMENT(1);
  struct task_struct *target = TYPED(task_struct, ARGUMENT(2));
  struct pw_privilege *out;
  if (!is_sent_by_a_process(info) || cgroup_id_of(target) == bpf_get_current_cgroup_id())
    return 0;
  out = RESERVE(pw_privilege, PW_PRIVILEGE_KILL, bpf_get_current_cgroup_id());
  if (!out)
    return 0;
  fill_task(&out->task, CURRENT_TASK());
  fill_target(out, target);
  out->arguments[0] = (u32)ctx[0];
  out->arguments[1] = (u32)ctx[4];
  if (ctx[3])
    out->marks |= PW_GROUP;
  submit(out, PW_PRIVILEGE_KILL);
  return 0;
}

/* Who wanted the memory that there is not may be another than the one who dies for it: the record is the
 * victim's. Before Linux 6.10 only its pid is told. */
PROGRAM(mark_victim)
{
  struct task_struct *current_task = CURRENT_TASK();
  struct pw_privilege *out = RESERVE(pw_privilege, PW_PRIVILEGE_OOM_KILL, bpf_get_current_cgroup_id());
  if (!out)
    return 0;
  fill_task(&out->task, current_task);
#if ARGUMENTS_mark_victim >= 2
  fill_target(out, ARGUMENT(0));
  out->head.cgroup_id = out->target_cgroup_id;
#else
  out->target_pid = (u32)ctx[0];
#endif
  submit(out, PW_PRIVILEGE_OOM_KILL);
  return 0;
}

/* The child is complete, as in sched_process_fork, which comes later and does not tell the flags. */
PROGRAM(task_newtask)
{
  u64 flags = ctx[1];
  struct pw_privilege *out;
  if (!(flags & CLONE_NEW_NAMESPACES))
    return 0;
  out = RESERVE(pw_privilege, PW_PRIVILEGE_CLONE, bpf_get_current_cgroup_id());
  if (!out)
    return 0;
  fill_task(&out->task, CURRENT_TASK());
  fill_target(out, ARGUMENT(0));
  out->arguments[0] = flags;
  submit(out, PW_PRIVILEGE_CLONE);
  return 0;
}

/* Comes when the process is in the new cgroup. The path is not in the record: `target_cgroup_id` is the new one,
 * and the collector knows its path from cgroup_mkdir. */
PROGRAM(cgroup_attach_task)
{
  struct cgroup *cgroup = TYPED(cgroup, ARGUMENT(0));
  struct cgroup_root *root = FIELD(cgroup, root);
  struct kernfs_node *node = FIELD(cgroup, kn);
  struct pw_privilege *out;
  if (FIELD(root, hierarchy_id) != DEFAULT_HIERARCHY)
    return 0;
  out = RESERVE(pw_privilege, PW_PRIVILEGE_CGROUP_ATTACH, bpf_get_current_cgroup_id());
  if (!out)
    return 0;
  fill_task(&out->task, CURRENT_TASK());
  fill_target(out, ARGUMENT(2));
  out->target_cgroup_id = FIELD(node, id);
  submit(out, PW_PRIVILEGE_CGROUP_ATTACH);
  return 0;
}
