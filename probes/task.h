/* Who did it: fills pw_task, and a record's cgroup. fill_task() is for everyone; fill_task_only() leaves out of
 * which tree the process is, for those who know, and tell it by tell_tree(). */
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

/* Ids and capabilities stand together in struct cred, unless the kernel was built to shuffle its members. By words, of
 * which the compiler leaves out those that are not needed, or one read of all: either costs less than eleven loads,
 * which the kernel surrounds with checks of 40 bytes of code each. */
#define CRED_START (OFF_cred__uid & ~7)
#define CRED_BYTES 96
#define IS_IN_CRED(member) (OFF_cred__##member >= CRED_START && OFF_cred__##member + 8 <= CRED_START + CRED_BYTES)
#if IS_IN_CRED(gid) && IS_IN_CRED(euid) && IS_IN_CRED(egid) && IS_IN_CRED(suid) && IS_IN_CRED(sgid) && \
  IS_IN_CRED(cap_effective) && IS_IN_CRED(cap_permitted) && IS_IN_CRED(cap_inheritable) && IS_IN_CRED(cap_ambient)
#define CRED_ID(at, member) (*(u32 *)((char *)(at) + OFF_cred__##member - CRED_START))
#define CRED_SET(at, member) (*(u64 *)((char *)(at) + OFF_cred__##member - CRED_START))
#ifdef WORD
#define CRED_WORD(cred, n) WORD((char *)(cred) + CRED_START, n)
#define READ_CRED(name, cred) \
  u64 name[CRED_BYTES / 8] = { \
    CRED_WORD(cred, 0), CRED_WORD(cred, 1), CRED_WORD(cred, 2), CRED_WORD(cred, 3), \
    CRED_WORD(cred, 4), CRED_WORD(cred, 5), CRED_WORD(cred, 6), CRED_WORD(cred, 7), \
    CRED_WORD(cred, 8), CRED_WORD(cred, 9), CRED_WORD(cred, 10), CRED_WORD(cred, 11), \
  }
#else
#define READ_CRED(name, cred) \
  u64 name[CRED_BYTES / 8]; \
  read_kernel(name, sizeof(name), (char *)(cred) + CRED_START)
#endif
#else
#define CRED_ID(cred, member) FIELD(cred, member.val)
#define CRED_SET(cred, member) CAPABILITIES(cred, member)
#define READ_CRED(name, cred) struct cred *name = cred
#endif

static __always_inline void fill_credentials(struct pw_task *out, struct task_struct *task)
{
  struct cred *cred = (struct cred *)FIELD(task, cred);
  struct user_namespace *user_ns = FIELD(cred, user_ns);
  READ_CRED(all, cred);
  out->user_ns = FIELD(user_ns, ns.inum);
  out->uid = CRED_ID(all, uid);
  out->gid = CRED_ID(all, gid);
  out->euid = CRED_ID(all, euid);
  out->egid = CRED_ID(all, egid);
  out->suid = CRED_ID(all, suid);
  out->sgid = CRED_ID(all, sgid);
  out->cap_effective = CRED_SET(all, cap_effective);
  out->cap_permitted = CRED_SET(all, cap_permitted);
  out->cap_inheritable = CRED_SET(all, cap_inheritable);
  out->cap_ambient = CRED_SET(all, cap_ambient);
}

static __always_inline void fill_innermost(struct pw_task *out, struct pid *pid)
{
  u64 at = OFF_pid__numbers + (u64)FIELD(pid, level) * sizeof(struct upid);
  struct pid_namespace *namespace;
#ifdef CASTS_POINTERS
  struct upid *innermost = TYPED(upid, (void *)(number_of(pid) + at));
  out->namespace_pid = innermost->nr;
  namespace = innermost->ns;
#else
  struct upid innermost = {};
  bpf_probe_read_kernel(&innermost, sizeof(innermost), (char *)pid + at);
  out->namespace_pid = innermost.nr;
  namespace = innermost.ns;
#endif
  out->pid_ns = FOLLOWED(TYPED(pid_namespace, namespace), ns.inum);
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
  out->mnt_ns = FIELD(mounts, ns.inum);
  out->net_ns = FIELD(net, ns.inum);
  out->uts_ns = FIELD(uts, ns.inum);
  out->ipc_ns = FIELD(ipc, ns.inum);
  out->cgroup_ns = FIELD(cgroups, ns.inum);
  fill_innermost(out, pid);
}

/* All but the tree; nothing of it has to be zeroed before. real_parent may be a thread, and the entity is always the
 * process: hence the group leaders. Numbers are read out of `task` as it was passed, pointers as TYPED(): both are the
 * cheaper way if it is an argument of the program. */
static __always_inline void fill_task_only(struct pw_task *out, struct task_struct *task)
{
  struct task_struct *typed = TYPED(task_struct, task);
  struct task_struct *leader = FIELD(typed, group_leader);
  struct task_struct *parent_thread = FIELD(typed, real_parent);
  struct task_struct *parent = FIELD(parent_thread, group_leader);
  out->start_ns = FIELD(leader, start_boottime);
  out->parent_start_ns = FIELD(parent, start_boottime);
  out->pid = FIELD(task, tgid);
  out->tid = FIELD(task, pid);
  out->parent_pid = FIELD(parent, tgid);
  out->maker_pid = 0;
  copy_comm(out->comm, task);
  copy_comm(out->parent_comm, parent);
  fill_credentials(out, typed);
  fill_namespaces(out, typed, leader);
#ifdef HAVE_task_struct__loginuid
  out->loginuid = FIELD(task, loginuid.val);
  out->audit_session = FIELD(task, sessionid);
#else
  out->loginuid = UNSET_ID;
  out->audit_session = UNSET_ID;
#endif
}

static __always_inline void tell_tree(struct pw_task *out, const struct process_state *state)
{
  if (state)
    out->entry = state->entry;
  else
    __builtin_memset(&out->entry, 0, sizeof(out->entry));
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
