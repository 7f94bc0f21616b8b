/* Whom something was done to: the target_* members of pw_privilege. */
#ifndef PODWITNESS_TARGET_H
#define PODWITNESS_TARGET_H
#include "dialect.h"
#include "events.h"

static __always_inline void fill_target(struct pw_privilege *out, struct task_struct *target)
{
  struct task_struct *task = TYPED(task_struct, target);
  struct task_struct *leader = FOLLOWED(task, group_leader);
  struct cred *cred = (struct cred *)FOLLOWED(task, cred);
  struct css_set *set = FOLLOWED(task, cgroups);
  struct cgroup *cgroup = FOLLOWED(set, dfl_cgrp);
  struct kernfs_node *node = FOLLOWED(cgroup, kn);
  out->target_start_ns = FOLLOWED(leader, start_boottime);
  out->target_cgroup_id = FOLLOWED(node, id);
  out->target_pid = FOLLOWED(task, tgid);
  out->target_uid = FOLLOWED(cred, uid.val);
  bpf_probe_read_kernel(out->target_comm, PW_COMM_BYTES, &task->comm);
  out->marks |= PW_TARGET_KNOWN;
}

#endif
