/* What the kernel knows of a TCP socket, and who is behind it. */
#ifndef PODWITNESS_SOCKET_H
#define PODWITNESS_SOCKET_H
#include "dialect.h"
#include "events.h"
#include "lineage.h"
#include "socket_table.h"

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6

/* include/net/tcp_states.h */
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_FIN_WAIT1 4
#define TCP_FIN_WAIT2 5
#define TCP_CLOSE 7
#define TCP_CLOSE_WAIT 8
#define TCP_LAST_ACK 9
#define TCP_LISTEN 10
#define TCP_CLOSING 11

#define SOCK_DONE 1 /* bit of sk_flags: the peer's FIN has arrived */
#define MAPPED_PREFIX 0xffff0000u /* third word of ::ffff:a.b.c.d, as little-endian machines see it */

/* Key of the map `listeners`. IPv4 stands as ::ffff:a.b.c.d, "any" of both families as zeroes: a listener on
 * :: is found for IPv4 too. */
struct listener_key {
  u32 net_ns;
  u16 port;
  u16 pad;
  u8 address[16];
};

struct listener {
  struct owner owner;
  u64 socket; /* several can share a key by SO_REUSEPORT: only the one that it names may remove it */
};

_Static_assert(PW_KEY_BYTES_listeners == sizeof(struct listener_key), "key of listeners");
_Static_assert(PW_VALUE_BYTES_listeners == sizeof(struct listener), "value of listeners");

/* The calling process, by the name of its leader: threads often have names of their own. Only where the caller
 * is the one that acts on the socket. */
static __always_inline void fill_owner(struct owner *owner)
{
  struct task_struct *task = CURRENT_TASK();
  struct task_struct *leader = CURRENT_FIELD(task, group_leader);
  owner->start_ns = CURRENT_FIELD(leader, start_boottime);
#ifdef CURRENT_IS_TYPED /* loads are cheaper than calls then */
  struct cred *cred = (struct cred *)CURRENT_FIELD(task, cred);
  owner->cgroup_id = id_of(cgroup_of(task));
  owner->pid = CURRENT_FIELD(task, tgid);
  owner->uid = CURRENT_FIELD(cred, uid.val);
#else
  owner->cgroup_id = bpf_get_current_cgroup_id();
  owner->pid = bpf_get_current_pid_tgid() >> 32;
  owner->uid = bpf_get_current_uid_gid();
#endif
  copy_comm(owner->comm, leader);
  fill_entry(&owner->entry, owner->pid, owner->start_ns);
}

static __always_inline u32 socket_net_ns(struct sock *sk)
{
  struct net *net = FIELD(TYPED(sock, sk), __sk_common.skc_net.net);
  return FIELD(net, ns.inum);
}

/* As SO_NETNS_COOKIE has it; 0 where the kernel gives none before it is asked (before 5.12). */
static __always_inline u64 socket_net_cookie(struct sock *sk)
{
  u64 cookie = 0;
#ifdef HAVE_net__net_cookie
  struct net *net = FIELD(TYPED(sock, sk), __sk_common.skc_net.net);
#ifdef PW_TP_BTF
  cookie = *(u64 *)((char *)net + OFF_net__net_cookie);
#else
  bpf_probe_read_kernel(&cookie, sizeof(cookie), (char *)net + OFF_net__net_cookie);
#endif
#endif
  return cookie;
}

/* An accepted socket carries its listener's. */
static __always_inline u64 socket_cgroup_id(struct sock *sk)
{
#ifdef HAVE_sock_cgroup_data__cgroup
  struct cgroup *cgroup = FIELD(TYPED(sock, sk), sk_cgrp_data.cgroup);
#else /* before 5.15: the pointer, or with its lowest bit set something else */
  struct cgroup *cgroup = (struct cgroup *)PROBED(sk, sk_cgrp_data.val);
  if ((u64)cgroup & 1)
    return 0;
#endif
  cgroup = TYPED(cgroup, cgroup);
  /* A call, or the compiler would make one load of it and another's, which the verifier does not allow. */
  return PROBED(FOLLOWED(cgroup, kn), id);
}

/* The same for all records of a socket, never again for another. The cookie is also what sock_diag and `ss -e`
 * show. Where programs can't ask for it, the address and the time it was opened at are mixed with a secret,
 * since addresses of kernel objects should not leave the machine. */
static __always_inline u64 socket_id(struct sock *sk, u64 since_ns)
{
#if defined(PW_TP_BTF) && LINUX_VERSION_CODE >= KERNEL_VERSION(5, 12, 0)
#ifdef HAVE_sock_common__skc_cookie
  u64 known = FIELD(sk, __sk_common.skc_cookie.counter); /* a load, where the other is a call of 25 ns */
  if (known)
    return known;
#endif
  return socket_cookie(sk);
#else
  u64 id = ((u64)sk ^ PW_SOCKET_SECRET) + since_ns;
  id = (id ^ id >> 30) * 0xbf58476d1ce4e5b9ull; /* splitmix64 */
  id = (id ^ id >> 27) * 0x94d049bb133111ebull;
  return id ^ id >> 31;
#endif
}

static __always_inline void copy_ipv6(u8 to[16], const void *from)
{
#ifdef WORD
  ((u64 *)to)[0] = WORD(from, 0);
  ((u64 *)to)[1] = WORD(from, 1);
#else
  bpf_probe_read_kernel(to, 16, from);
#endif
}

static __always_inline void put_ipv4(u8 to[16], u32 address)
{
  *(u64 *)to = 0;
  *(u64 *)(to + 8) = 0;
  *(u32 *)to = address;
}

/* Returns the family: a mapped address in an IPv6 socket is IPv4, as the other end of the connection sees it. */
static __always_inline u16 fill_addresses(u8 local[16], u8 remote[16], struct sock *sk)
{
  u32 *words = (u32 *)local;
  if (FIELD(sk, __sk_common.skc_family) == AF_INET6) {
    copy_ipv6(local, &sk->__sk_common.skc_v6_rcv_saddr);
    if (words[0] || words[1] || words[2] != MAPPED_PREFIX) {
      copy_ipv6(remote, &sk->__sk_common.skc_v6_daddr);
      return AF_INET6;
    }
  }
  put_ipv4(local, FIELD(sk, __sk_common.skc_rcv_saddr));
  put_ipv4(remote, FIELD(sk, __sk_common.skc_daddr));
  return AF_INET;
}

static __always_inline u16 local_port(struct sock *sk)
{
#ifdef CASTS_POINTERS
  return bpf_ntohs(TYPED(inet_sock, sk)->inet_sport);
#elif defined(PW_TP_BTF)
  struct tcp_sock *tcp = as_tcp_sock(sk);
  return tcp ? bpf_ntohs(((struct inet_sock *)tcp)->inet_sport) : 0;
#else
  return bpf_ntohs(PROBED((struct inet_sock *)sk, inet_sport));
#endif
}

static __always_inline bool has_sent_fin(int state)
{
  return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING || state == TCP_LAST_ACK;
}

/* The kernel counts SYN and FIN as bytes; here only payload counts. Our FIN is the last thing in the sequence;
 * that the peer's has arrived is a flag. A socket whose role is not known may have a SYN counted: not more can
 * be acknowledged than was sent. */
static __always_inline void payload_only(struct pw_tcp *out, struct sock *sk, struct tcp_sock *tcp, int state)
{
  u64 sent_once = out->bytes_sent - out->bytes_retransmitted;
  if (out->bytes_received && FIELD(sk, __sk_common.skc_flags) >> SOCK_DONE & 1)
    out->bytes_received--;
  if (has_sent_fin(state) && out->bytes_acked && FIELD(tcp, snd_una) == FIELD(tcp, write_seq))
    out->bytes_acked--;
  if (out->role == PW_CLIENT && out->bytes_acked)
    out->bytes_acked--;
  if (out->bytes_acked > sent_once)
    out->bytes_acked = sent_once;
}

/* `state`: the socket's before it was closed. */
static __always_inline void fill_counters(struct pw_tcp *out, struct sock *sk, int state)
{
#ifdef CASTS_POINTERS
  struct tcp_sock *tcp = TYPED(tcp_sock, sk);
#elif defined(PW_TP_BTF)
  struct tcp_sock *tcp = as_tcp_sock(sk);
  if (!tcp)
    return;
#else
  struct tcp_sock *tcp = (struct tcp_sock *)sk;
#endif
  out->bytes_sent = FIELD(tcp, bytes_sent);
  out->bytes_acked = FIELD(tcp, bytes_acked);
  out->bytes_received = FIELD(tcp, bytes_received);
  out->bytes_retransmitted = FIELD(tcp, bytes_retrans);
  out->retransmits = FIELD(tcp, total_retrans);
  out->rtt_us = FIELD(tcp, srtt_us) >> 3; /* kept in eighths */
  out->segments_in = FIELD(tcp, segs_in);
  out->segments_out = FIELD(tcp, segs_out);
  payload_only(out, sk, tcp, state);
}

static __always_inline void fill_listener_key(struct listener_key *key, struct sock *sk)
{
  u32 *words = (u32 *)key->address;
  key->net_ns = socket_net_ns(sk);
  key->port = local_port(sk);
  if (FIELD(sk, __sk_common.skc_family) == AF_INET6) {
    copy_ipv6(key->address, &sk->__sk_common.skc_v6_rcv_saddr);
    return;
  }
  words[3] = FIELD(sk, __sk_common.skc_rcv_saddr);
  if (words[3])
    words[2] = MAPPED_PREFIX;
}

/* Whom a record of the socket is about: its owner's, else the socket's own. */
static __always_inline u64 flow_cgroup_id(struct sock *sk, const struct socket_state *state)
{
  return state->owner.pid ? state->owner.cgroup_id : socket_cgroup_id(sk);
}

/* What only some kinds tell. */
static __always_inline void clear_counters(struct pw_tcp *out)
{
  out->bytes_sent = 0;
  out->bytes_acked = 0;
  out->bytes_received = 0;
  out->bytes_retransmitted = 0;
  out->retransmits = 0;
  out->rtt_us = 0;
  out->segments_in = 0;
  out->segments_out = 0;
  out->backlog = 0;
  out->error = 0;
}

/* All but the head, which has its time. Each byte is written: that is less than to zero them all before, for the memory
 * of a ring is in no cache by then, and what is stored has to wait for it. */
static __always_inline void fill_tcp(struct pw_tcp *out, struct sock *sk, struct socket_state *state)
{
  out->head.flags = state->since_ns ? 0 : PW_OWNER_UNKNOWN;
  out->entry = state->owner.entry;
  out->socket_id = socket_id(sk, state->since_ns);
  out->duration_ns = state->since_ns ? out->head.time_ns - state->since_ns : 0;
  out->owner_start_ns = state->owner.start_ns;
  out->net_cookie = socket_net_cookie(sk);
  out->owner_pid = state->owner.pid;
  out->owner_uid = state->owner.uid;
  out->net_ns = socket_net_ns(sk);
  out->local_port = local_port(sk);
  out->remote_port = bpf_ntohs(FIELD(sk, __sk_common.skc_dport));
  out->role = state->role;
  out->owner_source = state->owner_source;
  __builtin_memset(out->pad, 0, sizeof(out->pad));
  out->family = fill_addresses(out->local_address, out->remote_address, sk);
  __builtin_memcpy(out->comm, state->owner.comm, PW_COMM_BYTES);
  clear_counters(out);
}

#endif
