/* Who did it: fills pw_task, and a record's cgroup. */
#ifndef PODWITNESS_TASK_H
#define PODWITNESS_TASK_H
#include "dialect.h"
#include "events.h"

#define LOGINUID_UNSET 4294967295u

/* Two loads where the verifier lets typed pointers be followed, else a call. */
static __always_inline void copy_comm(char out[PW_COMM_BYTES], struct task_struct *task)
{
#if defined(PW_TP_BTF) && OFF_task_struct__comm % 8 == 0
  ((u64 *)out)[0] = ((u64 *)task->comm)[0];
  ((u64 *)out)[1] = ((u64 *)task->comm)[1];
#else
  bpf_probe_read_kernel(out, PW_COMM_BYTES, &task->comm);
#endif
}

static __always_inline u64 cgroup_id_of(struct task_struct *task)
{
  struct css_set *set = FIELD(task, cgroups);
  struct cgroup *cgroup = FIELD(set, dfl_cgrp);
  struct kernfs_node *node = FIELD(cgroup, kn);
  return FIELD(node, id);
}

static __always_inline void fill_credentials(struct pw_task *out, struct task_struct *task)
{
  struct cred *cred = (struct cred *)FIELD(task, cred);
  struct user_namespace *user_ns = FIELD(cred, user_ns);
  out->uid = FIELD(cred, uid.val);
  out->gid = FIELD(cred, gid.val);
  out->euid = FIELD(cred, euid.val);
  out->user_ns = FIELD(user_ns, ns.inum);
#ifdef HAVE_kernel_cap_t__val
  out->cap_effective = FIELD(cred, cap_effective.val);
#else /* before 6.3: u32[2] with the low half first */
  bpf_probe_read_kernel(&out->cap_effective, sizeof(out->cap_effective), &cred->cap_effective);
#endif
#ifdef HAVE_task_struct__loginuid
  out->loginuid = FIELD(task, loginuid.val);
#else
  out->loginuid = LOGINUID_UNSET;
#endif
}

/* The namespaces of nsproxy are those that the task uses; its pid namespace is that of its own number. */
static __always_inline void fill_namespaces(struct pw_task *out, struct task_struct *task)
{
  struct nsproxy *proxy = FIELD(task, nsproxy);
  struct mnt_namespace *mounts = FIELD(proxy, mnt_ns);
  struct net *net = FIELD(proxy, net_ns);
  struct pid *pid = FIELD(task, thread_pid);
  u32 level = FIELD(pid, level);
  struct upid innermost = {};
  out->mnt_ns = FIELD(mounts, ns.inum);
  out->net_ns = FIELD(net, ns.inum);
  bpf_probe_read_kernel(&innermost, sizeof(innermost),
                        (char *)pid + OFF_pid__numbers + (u64)level * sizeof(struct upid));
  out->namespace_pid = innermost.nr;
  out->pid_ns = PROBED(innermost.ns, ns.inum);
}

/* real_parent may be a thread, and the entity is always the process: hence the group leaders. */
static __always_inline void fill_task(struct pw_task *out, struct task_struct *task)
{
  struct task_struct *leader = FIELD(task, group_leader);
  struct task_struct *parent_thread = FIELD(task, real_parent);
  struct task_struct *parent = FIELD(parent_thread, group_leader);
  out->start_ns = FIELD(leader, start_boottime);
  out->parent_start_ns = FIELD(parent, start_boottime);
  out->pid = FIELD(task, tgid);
  out->tid = FIELD(task, pid);
  out->parent_pid = FIELD(parent, tgid);
  copy_comm(out->comm, task);
  copy_comm(out->parent_comm, parent);
  fill_credentials(out, task);
  fill_namespaces(out, task);
}

#endif
