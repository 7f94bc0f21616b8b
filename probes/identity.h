/* What a call can change of a thread: ids, namespaces, capabilities. */
#ifndef PODWITNESS_IDENTITY_H
#define PODWITNESS_IDENTITY_H
#include "dialect.h"
#include "events.h"

struct identity {
  u32 ids[PW_IDENTITIES];
  u64 capabilities[2];
};

static __always_inline void fill_ids(u32 ids[PW_IDENTITIES], struct cred *cred)
{
  struct user_namespace *user_ns = FIELD(cred, user_ns);
  ids[PW_ID_UID] = FIELD(cred, uid.val);
  ids[PW_ID_EUID] = FIELD(cred, euid.val);
  ids[PW_ID_SUID] = FIELD(cred, suid.val);
  ids[PW_ID_FSUID] = FIELD(cred, fsuid.val);
  ids[PW_ID_GID] = FIELD(cred, gid.val);
  ids[PW_ID_EGID] = FIELD(cred, egid.val);
  ids[PW_ID_SGID] = FIELD(cred, sgid.val);
  ids[PW_ID_FSGID] = FIELD(cred, fsgid.val);
  ids[PW_NS_USER] = FIELD(user_ns, ns.inum);
}

static __always_inline void fill_spaces(u32 ids[PW_IDENTITIES], struct nsproxy *proxy)
{
  struct mnt_namespace *mounts = FIELD(proxy, mnt_ns);
  struct pid_namespace *pids = FIELD(proxy, pid_ns_for_children);
  struct net *net = FIELD(proxy, net_ns);
  struct uts_namespace *uts = FIELD(proxy, uts_ns);
  struct ipc_namespace *ipc = FIELD(proxy, ipc_ns);
  struct cgroup_namespace *cgroups = FIELD(proxy, cgroup_ns);
  ids[PW_NS_MNT] = FIELD(mounts, ns.inum);
  ids[PW_NS_PID_CHILDREN] = FIELD(pids, ns.inum);
  ids[PW_NS_NET] = FIELD(net, ns.inum);
  ids[PW_NS_UTS] = FIELD(uts, ns.inum);
  ids[PW_NS_IPC] = FIELD(ipc, ns.inum);
  ids[PW_NS_CGROUP] = FIELD(cgroups, ns.inum);
#ifdef HAVE_nsproxy__time_ns_for_children
  {
    struct time_namespace *times = FIELD(proxy, time_ns_for_children);
    ids[PW_NS_TIME_CHILDREN] = FIELD(times, ns.inum);
  }
#endif
}

static __always_inline void fill_identity(u32 ids[PW_IDENTITIES], u64 capabilities[2], struct task_struct *task)
{
  struct cred *cred = (struct cred *)FIELD(task, cred);
  fill_ids(ids, cred);
  fill_spaces(ids, FIELD(task, nsproxy));
  /* two words before 6.3, one since: the same bytes */
  bpf_probe_read_kernel(&capabilities[0], sizeof(u64), &cred->cap_effective);
  bpf_probe_read_kernel(&capabilities[1], sizeof(u64), &cred->cap_permitted);
}

#endif
