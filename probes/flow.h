/* The table of flows that go on, and who is behind their sockets.
 *
 * The map `flows` is an array that the collector has mapped, read only: it looks there for what goes on and for
 * what has become idle, which takes neither a capability nor a system call. Only the programs write to it. A
 * flow has one of PLACES places, chosen by its key. Counting takes no lock; what puts a flow into a place holds
 * the lock of those places, which is an entry of the map `flow_locks`: that can fail, never wait. */
#ifndef PODWITNESS_FLOW_H
#define PODWITNESS_FLOW_H
#include "dialect.h"
#include "events.h"
#include "flow_owner.h"
#include "lineage.h"
#include "packet.h"

#ifndef PW_FLOW_IDLE_NS
#define PW_FLOW_IDLE_NS 60000000000ull
#endif
#define PLACES 4
#define SETS (PW_ENTRIES_flows / PLACES)
#define SOCKET_FLOWS 8 /* flows of a socket that end at once with it; more end when the collector looks */
#define PF_KTHREAD 0x00200000
#define UPDATE_IF_NEW 1
#define PACKETS_TIMED 16 /* at the start of each flow: short ones have their exact duration */

/* Where the flows of a socket are, by its cookie. */
struct socket_flows {
  u32 slots[SOCKET_FLOWS];
  u32 count;
  u32 pad;
};

_Static_assert((SETS & (SETS - 1)) == 0, "sets are chosen by a mask");
_Static_assert(PW_VALUE_BYTES_flows == sizeof(struct pw_flow_slot), "value of flows");
_Static_assert(PW_VALUE_BYTES_flow_sockets == sizeof(struct socket_flows), "value of flow_sockets");

/* The kernel's socket, as a number: the typed pointer of these programs gives only what is in struct bpf_sock. */
static __always_inline struct sock *plain_socket(void *typed)
{
  void *held = typed;
  struct sock *plain = 0;
  read_kernel(&plain, sizeof(plain), &held);
  return plain;
}

static __always_inline u32 net_ns_of(struct sock *sk)
{
  return FOLLOWED(FOLLOWED(TYPED(sock, sk), __sk_common.skc_net.net), ns.inum);
}

static __always_inline u64 net_cookie_of(struct sock *sk)
{
  u64 cookie = 0;
#ifdef HAVE_net__net_cookie
  struct net *net = FOLLOWED(TYPED(sock, sk), __sk_common.skc_net.net);
#ifdef CASTS_POINTERS
  cookie = *(u64 *)((char *)net + OFF_net__net_cookie);
#else
  read_kernel(&cookie, sizeof(cookie), (char *)net + OFF_net__net_cookie);
#endif
#endif
  return cookie;
}

/* One that the kernel made for itself: no process has a descriptor of it. */
static __always_inline bool is_kernel_socket(struct sock *sk)
{
  struct socket *holder = FOLLOWED(TYPED(sock, sk), sk_socket);
  return !holder || !FOLLOWED(holder, file);
}

static __always_inline u64 cgroup_of_socket(struct sock *sk)
{
#ifdef HAVE_sock_cgroup_data__cgroup
  struct cgroup *cgroup = FOLLOWED(TYPED(sock, sk), sk_cgrp_data.cgroup);
#else /* before 5.15: the pointer, or with its lowest bit set something else */
  struct cgroup *cgroup = (struct cgroup *)PROBED(sk, sk_cgrp_data.val);
  if ((u64)cgroup & 1)
    return 0;
#endif
  cgroup = TYPED(cgroup, cgroup);
  return PROBED(FOLLOWED(cgroup, kn), id); /* a call: see socket_cgroup_id() */
}

static __always_inline void copy_leader_comm(char out[PW_COMM_BYTES], struct task_struct *leader)
{
#ifdef CASTS_POINTERS
  copy_comm(out, leader);
#else
  read_kernel(out, PW_COMM_BYTES, &leader->comm);
#endif
}

/* The calling process. Only where the caller is the one that acts on the socket; nothing for a kernel thread. */
static __always_inline bool fill_caller(struct owner *owner)
{
  struct task_struct *task = TYPED(task_struct, (void *)bpf_get_current_task());
  struct task_struct *leader = FOLLOWED(task, group_leader);
  struct css_set *set = FOLLOWED(task, cgroups);
  struct cgroup *cgroup = FOLLOWED(set, dfl_cgrp);
  struct cred *cred = (struct cred *)FOLLOWED(task, cred);
  if (FOLLOWED(task, flags) & PF_KTHREAD)
    return false;
  owner->start_ns = FOLLOWED(leader, start_boottime);
  owner->cgroup_id = FOLLOWED(FOLLOWED(cgroup, kn), id);
  owner->pid = FOLLOWED(task, tgid);
  owner->uid = FOLLOWED(cred, uid.val);
  copy_leader_comm(owner->comm, leader);
  fill_entry(&owner->entry, owner->pid, owner->start_ns);
  return true;
}

static __always_inline u64 mixed_with(u64 hash, u64 word)
{
  hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
  return hash ^ hash >> 32;
}

/* Each step waits for the one before, so IPv4's two addresses, which are halves of words, take one. */
static __always_inline u32 set_of(const struct flow_key *key)
{
  const u64 *words = (const u64 *)key;
  u64 hash = PW_SOCKET_SECRET;
  if (key->family == AF_INET) {
    hash = mixed_with(hash, words[1] ^ (words[3] << 32 | words[3] >> 32));
  } else {
    hash = mixed_with(mixed_with(hash, words[1]), words[2]);
    hash = mixed_with(mixed_with(hash, words[3]), words[4]);
  }
  return mixed_with(mixed_with(hash, words[5]), words[0]) & (SETS - 1);
}

static __always_inline bool is_same(const struct pw_flow *flow, const struct flow_key *key)
{
  const u64 *has = (const u64 *)&flow->socket_id, *wanted = (const u64 *)key;
#pragma unroll
  for (int i = 0; i < KEY_WORDS; i++)
    if (has[i] != wanted[i])
      return false;
  return true;
}

static __always_inline struct pw_flow_slot *place(u32 set, u32 number)
{
  u32 index = set * PLACES + number;
  return map_lookup(MAP(flows), &index);
}

static __always_inline struct pw_flow_slot *find_flow(u32 set, const struct flow_key *key)
{
#pragma unroll
  for (u32 number = 0; number < PLACES; number++) {
    struct pw_flow_slot *slot = place(set, number);
    if (slot && is_same(&slot->flow, key) && slot->flow.first_ns && !slot->flow.end_cause)
      return slot;
  }
  return 0;
}

/* A place that is free, or else that of the flow which is silent for longest. */
static __always_inline struct pw_flow_slot *choose_place(u32 set, u32 *index)
{
  struct pw_flow_slot *best = 0;
  u64 oldest_ns = ~0ull;
#pragma unroll
  for (u32 number = 0; number < PLACES; number++) {
    struct pw_flow_slot *slot = place(set, number);
    u64 last_ns;
    if (!slot)
      continue;
    last_ns = slot->flow.end_cause ? 0 : slot->flow.last_ns;
    if (last_ns < oldest_ns) {
      oldest_ns = last_ns;
      best = slot;
      *index = set * PLACES + number;
    }
  }
  return best;
}

static __always_inline void count_packet(struct pw_flow *flow, const struct packet *packet)
{
  if (packet->is_ingress) {
    __sync_fetch_and_add(&flow->bytes_received, packet->payload_bytes);
    __sync_fetch_and_add(&flow->packets_received, packet->segments);
  } else {
    __sync_fetch_and_add(&flow->bytes_sent, packet->payload_bytes);
    __sync_fetch_and_add(&flow->packets_sent, packet->segments);
  }
}

/* To ask for the time is half the cost of counting a packet. So a flow's first packets tell when they came, and of the
 * others the first within a tick (1 to 10 ms): last_ns may be older than the last packet by as much. */
static __always_inline bool is_time_known(const struct pw_flow_slot *slot, u32 tick)
{
  return slot->tick == tick && slot->flow.packets_sent + slot->flow.packets_received >= PACKETS_TIMED;
}

#endif
