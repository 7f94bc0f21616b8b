/* Who did it: fills pw_task, and a record's cgroup. fill_task() is for everyone; fill_task_only() leaves out of
 * which tree the process is, for those who know. */
#ifndef PODWITNESS_TASK_H
#define PODWITNESS_TASK_H
#include "dialect.h"
#include "events.h"
#include "lineage.h"

#define UNSET_ID 4294967295u

static __always_inline u64 cgroup_id_of(struct task_struct *task)
{
  return id_of(cgroup_of(task));
}

/* Before 6.3 a set is u32[2] with the low half first. */
#ifdef HAVE_kernel_cap_t__val
#define CAPABILITIES(cred, set) FIELD(cred, set.val)
#else
#define CAPABILITIES(cred, set) ({ \
  u64 value_ = 0; \
  bpf_probe_read_kernel(&value_, sizeof(value_), &(cred)->set); \
  value_; \
})
#endif

static __always_inline void fill_credentials(struct pw_task *out, struct task_struct *task)
{
  struct cred *cred = (struct cred *)FIELD(task, cred);
  struct user_namespace *user_ns = FIELD(cred, user_ns);
  out->uid = FIELD(cred, uid.val);
  out->gid = FIELD(cred, gid.val);
  out->euid = FIELD(cred, euid.val);
  out->egid = FIELD(cred, egid.val);
  out->suid = FIELD(cred, suid.val);
  out->sgid = FIELD(cred, sgid.val);
  out->user_ns = FIELD(user_ns, ns.inum);
  out->cap_effective = CAPABILITIES(cred, cap_effective);
  out->cap_permitted = CAPABILITIES(cred, cap_permitted);
  out->cap_inheritable = CAPABILITIES(cred, cap_inheritable);
  out->cap_ambient = CAPABILITIES(cred, cap_ambient);
#ifdef HAVE_task_struct__loginuid
  out->loginuid = FIELD(task, loginuid.val);
  out->audit_session = FIELD(task, sessionid);
#else
  out->loginuid = UNSET_ID;
  out->audit_session = UNSET_ID;
#endif
}

/* The namespaces of nsproxy are those that the thread uses; a leader that has ended has none any more. It keeps its
 * number until the last thread has ended, and that is the process's. */
static __always_inline void fill_namespaces(struct pw_task *out, struct task_struct *task, struct task_struct *leader)
{
  struct nsproxy *proxy = FIELD(task, nsproxy);
  struct mnt_namespace *mounts = FIELD(proxy, mnt_ns);
  struct net *net = FIELD(proxy, net_ns);
  struct uts_namespace *uts = FIELD(proxy, uts_ns);
  struct ipc_namespace *ipc = FIELD(proxy, ipc_ns);
  struct cgroup_namespace *cgroups = FIELD(proxy, cgroup_ns);
  struct pid *pid = FIELD(leader, thread_pid);
  u32 level = FIELD(pid, level);
  struct upid innermost = {};
  out->mnt_ns = FIELD(mounts, ns.inum);
  out->net_ns = FIELD(net, ns.inum);
  out->uts_ns = FIELD(uts, ns.inum);
  out->ipc_ns = FIELD(ipc, ns.inum);
  out->cgroup_ns = FIELD(cgroups, ns.inum);
  bpf_probe_read_kernel(&innermost, sizeof(innermost),
                        (char *)pid + OFF_pid__numbers + (u64)level * sizeof(struct upid));
  out->namespace_pid = innermost.nr;
  innermost.ns = TYPED(pid_namespace, innermost.ns);
  out->pid_ns = FOLLOWED(innermost.ns, ns.inum);
}

/* real_parent may be a thread, and the entity is always the process: hence the group leaders. */
static __always_inline void fill_task_only(struct pw_task *out, struct task_struct *task)
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
  fill_namespaces(out, task, leader);
}

static __always_inline void fill_task(struct pw_task *out, struct task_struct *task)
{
  fill_task_only(out, task);
  fill_entry(&out->entry, out->pid, out->start_ns);
}

/* The controlling terminal: its name, and its device as the return value; 0: there is none. */
static __always_inline u32 fill_tty(char name[PW_TTY_BYTES], struct task_struct *task)
{
  struct signal_struct *signal = FIELD(task, signal);
  struct tty_struct *tty = FIELD(signal, tty);
  struct tty_driver *driver;
  if (!tty)
    return 0;
  driver = FIELD(tty, driver);
  bpf_probe_read_kernel_str(name, PW_TTY_BYTES, &tty->name);
  return FIELD(driver, major) << 20 | (FIELD(driver, minor_start) + FIELD(tty, index));
}

#endif
