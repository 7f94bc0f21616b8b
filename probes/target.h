/* Whom something was done to: the target_* members of pw_privilege. */
#ifndef PODWITNESS_TARGET_H
#define PODWITNESS_TARGET_H
#include "dialect.h"
#include "events.h"

static __always_inline void fill_target(struct pw_privilege *out, struct task_struct *target)
{
  struct task_struct *leader = PROBED(target, group_leader);
  struct cred *cred = (struct cred *)PROBED(target, cred);
  struct css_set *set = PROBED(target, cgroups);
  struct cgroup *cgroup = PROBED(set, dfl_cgrp);
  struct kernfs_node *node = PROBED(cgroup, kn);
  out->target_start_ns = PROBED(leader, start_boottime);
  out->target_cgroup_id = PROBED(node, id);
  out->target_pid = PROBED(target, tgid);
  out->target_uid = PROBED(cred, uid.val);
  bpf_probe_read_kernel(out->target_comm, PW_COMM_BYTES, &target->comm);
  out->marks |= PW_TARGET_KNOWN;
}

#endif
