/* What was there before the probes: processes, listeners and connections. The collector reads it when the probes
 * are attached, so that what began before is told once, and what began since is in the rings. */
#include "dialect.h"
#include "emit.h"
#include "events.h"
#include "exec.h"
#include "socket.h"
#include "task.h"
#ifdef PW_MAP_flow_owners
#include "flow_owner.h"
#endif

_Static_assert(PW_VALUE_BYTES_state_scratch == sizeof(struct pw_exec) + PW_EXEC_DATA_BYTES, "scratch of state");

/* No limit holds for it: it is asked for. */
static __always_inline void begin_state(struct pw_head *head, u16 kind, u32 record_bytes, u64 cgroup_id)
{
  fill_head(head, kind, record_bytes, cgroup_id, bpf_ktime_get_boot_ns());
}

/* The program's path and folder, and whom it descends from; its arguments are added by the reader. */
static __always_inline u64 append_parts(struct pw_exec *exec, struct task_struct *task, struct file *file)
{
  struct fs_struct *fs = FIELD(task, fs);
  struct process_state *state = find_state(exec->task.pid, exec->task.start_ns);
  u64 bytes;
  append_exe(exec, 0, file);
  bytes = exec->exe_bytes;
  if (fs)
    append_cwd(exec, bytes, fs);
  bytes += exec->cwd_bytes;
  if (state)
    bytes += append_ancestors(exec, bytes, state);
  return bytes;
}

/* Kernel threads have no memory, and what is only waiting for its parent has none any more. What is still to give
 * its memory back has told its end, or nobody was there yet to hear it. */
PROGRAM(processes_before)
{
  struct task_struct *task = ARGUMENT(1);
  struct pw_exec *exec;
  struct mm_struct *mm;
  struct file *file;
  u32 zero = 0;
  u64 bytes;
  if (!task || FIELD(task, pid) != FIELD(task, tgid))
    return 0;
  mm = FIELD(task, mm);
  exec = map_lookup(MAP(state_scratch), &zero);
  if (!mm || !exec || !is_alive(task))
    return 0;
  file = FIELD(mm, exe_file);
  if (!file)
    return 0;
  __builtin_memset(exec, 0, sizeof(*exec));
  begin_state(&exec->head, PW_STATE_PROCESS, 0, cgroup_id_of(task));
  fill_task(&exec->task, task);
  fill_binary(exec, file);
  fill_leaders(exec, task);
  exec->tty_device = fill_tty(exec->tty, task);
  bytes = append_parts(exec, task, file);
  BOUND(bytes, DATA_MASK);
  if (bytes > PW_EXEC_DATA_BYTES - 8)
    return 0;
  exec->head.record_bytes = sizeof(*exec) + bytes;
  bytes = (bytes + 7) & ~7ull; /* the reader finds each record aligned */
  BOUND(bytes, DATA_MASK);
  if (bytes > PW_EXEC_DATA_BYTES)
    return 0;
  seq_write(SEQUENCE(), exec, sizeof(*exec) + bytes);
  return 0;
}

/* The client's SYN is acknowledged and so counts as a byte; the server's never does, as its socket is made when
 * that has come. Sent and not acknowledged is what lies between snd_una and snd_nxt. */
static __always_inline u8 role_of_connection(struct sock *sk)
{
  struct tcp_sock *tcp = as_tcp_sock(sk);
  u64 acknowledged;
  if (!tcp)
    return 0;
  acknowledged = tcp->bytes_sent - tcp->bytes_retrans - (u32)(tcp->snd_nxt - tcp->snd_una);
  return tcp->bytes_acked == acknowledged + 1 ? PW_CLIENT : PW_SERVER;
}

static __always_inline void fill_holder(struct owner *owner, struct task_struct *task)
{
  struct task_struct *leader = FIELD(task, group_leader);
  struct cred *cred = (struct cred *)FIELD(task, cred);
  owner->start_ns = FIELD(leader, start_boottime);
  owner->cgroup_id = cgroup_id_of(task);
  owner->pid = FIELD(task, tgid);
  owner->uid = FIELD(cred, uid.val);
  copy_comm(owner->comm, leader);
  fill_entry(&owner->entry, owner->pid, owner->start_ns);
}

static __always_inline void remember_listener(struct sock *sk, struct socket_state *state)
{
  struct listener_key place = {};
  struct listener listener = {};
  fill_listener_key(&place, sk);
  listener.owner = state->owner;
  listener.socket = (u64)sk;
  map_update(MAP(listeners), &place, &listener, 1 /* BPF_NOEXIST: what was seen to happen is better */);
}

static __always_inline void write_socket(struct seq_file *seq, struct sock *sk, struct socket_state *state)
{
  u32 zero = 0;
  struct pw_tcp *out = map_lookup(MAP(state_scratch), &zero);
  u16 kind = state->role == PW_LISTENER ? PW_STATE_LISTENER : PW_STATE_CONNECTION;
  if (!out)
    return;
  __builtin_memset(out, 0, sizeof(*out));
  begin_state(&out->head, kind, sizeof(*out), flow_cgroup_id(sk, state));
  fill_tcp(out, sk, state);
  if (state->role == PW_LISTENER)
    out->backlog = FIELD(sk, sk_max_ack_backlog);
  seq_write(seq, out, sizeof(*out));
}

#if defined(PW_MAP_flow_owners) && LINUX_VERSION_CODE >= KERNEL_VERSION(5, 12, 0)
static __always_inline void write_bound(struct seq_file *seq, struct sock *sk, struct owner *holder, u64 cookie)
{
  u32 zero = 0;
  struct pw_bind *out = map_lookup(MAP(state_scratch), &zero);
  if (!out)
    return;
  __builtin_memset(out, 0, sizeof(*out));
  begin_state(&out->head, PW_STATE_BOUND, sizeof(*out), holder->cgroup_id);
  out->entry = holder->entry;
  out->socket_id = cookie;
  out->net_cookie = socket_net_cookie(sk);
  out->owner_start_ns = holder->start_ns;
  out->owner_pid = holder->pid;
  out->owner_uid = holder->uid;
  out->net_ns = socket_net_ns(sk);
  out->family = FIELD(sk, __sk_common.skc_family);
  out->local_port = FIELD(sk, __sk_common.skc_num);
  out->protocol = IPPROTO_UDP;
  if (out->family == AF_INET6)
    bpf_probe_read_kernel(out->local_address, 16, &sk->__sk_common.skc_v6_rcv_saddr);
  else
    *(u32 *)out->local_address = FIELD(sk, __sk_common.skc_rcv_saddr);
  __builtin_memcpy(out->comm, holder->comm, PW_COMM_BYTES);
  seq_write(seq, out, sizeof(*out));
}

/* UDP and ICMP: whose flow it is when a packet comes in before one has gone out. What was seen to be bound is in the
 * map already; so is what was told of another descriptor. */
static __always_inline void on_datagrams(struct seq_file *seq, struct sock *sk, struct task_struct *task, u16 protocol)
{
  struct holder holder = {.source = PW_OWNER_BY_DESCRIPTOR};
  u64 cookie = socket_cookie(sk);
  fill_holder(&holder.owner, task);
  if (!map_update(MAP(flow_owners), &cookie, &holder, 1 /* BPF_NOEXIST */) && protocol == IPPROTO_UDP &&
      FIELD(sk, __sk_common.skc_num))
    write_bound(seq, sk, &holder.owner, cookie);
}

static __always_inline bool is_of_datagrams(u16 protocol)
{
  return protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE || protocol == IPPROTO_ICMP ||
         protocol == IPPROTO_ICMPV6;
}
#endif

/* Each descriptor of each process. A socket that the other programs know already was seen to open, or has been
 * told of another descriptor. One that is still connecting is only remembered, for its connection will be seen. */
PROGRAM(sockets_before)
{
  struct task_struct *task = ARGUMENT(1);
  struct file *file = ARGUMENT(3);
  struct socket_state *state;
  struct socket *socket;
  struct sock *sk;
  u16 family, protocol;
  u8 now;
  if (!task || !file)
    return 0;
  socket = socket_of_file(file);
  sk = socket ? socket->sk : 0;
  if (!sk)
    return 0;
  family = FIELD(sk, __sk_common.skc_family);
  if (family != AF_INET && family != AF_INET6)
    return 0;
  protocol = FIELD(sk, sk_protocol);
#if defined(PW_MAP_flow_owners) && LINUX_VERSION_CODE >= KERNEL_VERSION(5, 12, 0)
  if (is_of_datagrams(protocol))
    on_datagrams(SEQUENCE(), sk, task, protocol);
#endif
  now = FIELD(sk, __sk_common.skc_state);
  if (protocol != IPPROTO_TCP || now == TCP_CLOSE || now == TCP_SYN_RECV)
    return 0;
  if (find_socket(number_of(sk)))
    return 0;
  state = hold_socket(number_of(sk));
  if (!state)
    return 0;
  state->role = now == TCP_LISTEN ? PW_LISTENER : now == TCP_SYN_SENT ? PW_CLIENT : role_of_connection(sk);
  state->owner_source = PW_OWNER_BY_DESCRIPTOR;
  fill_holder(&state->owner, task);
  if (now == TCP_LISTEN)
    remember_listener(sk, state);
  if (now != TCP_SYN_SENT)
    write_socket(SEQUENCE(), sk, state);
  return 0;
}
