/* Puts flows into their table, and tells of it. */
#ifndef PODWITNESS_FLOW_PUT_H
#define PODWITNESS_FLOW_PUT_H
#include "emit.h"
#include "flow.h"

static __always_inline void set_owner(struct pw_flow *flow, const struct owner *owner, u8 source)
{
  flow->entry_start_ns = owner->entry.entry_start_ns;
  flow->entry_pid = owner->entry.entry_pid;
  flow->entry_way = PW_ENTRY_WAY(&owner->entry);
  flow->owner_start_ns = owner->start_ns;
  flow->owner_pid = owner->pid;
  flow->owner_uid = owner->uid;
  flow->owner_source = source;
  flow->head.cgroup_id = owner->cgroup_id;
  __builtin_memcpy(flow->comm, owner->comm, PW_COMM_BYTES);
}

/* What goes out is sent by the current process, unless the kernel itself answers. Of what comes in only who
 * bound the socket is known, or had it open when the probes came. */
static __always_inline void find_owner(struct pw_flow *flow, struct sock *sk, bool is_ingress)
{
  struct owner owner = {};
  struct holder *holder;
  u64 own_cgroup_id = cgroup_of_socket(sk), *cgroup_id, socket_id = flow->socket_id;
  u32 net_ns = flow->net_ns;
  flow->head.cgroup_id = own_cgroup_id;
  if (flow->head.flags & PW_KERNEL_SOCKET) {
    cgroup_id = map_lookup(MAP(ns_cgroups), &net_ns);
    if (cgroup_id) {
      flow->head.cgroup_id = *cgroup_id;
      flow->head.flags |= PW_BY_NETNS;
    }
    return;
  }
  map_update(MAP(ns_cgroups), &net_ns, &own_cgroup_id, 0);
  if (!is_ingress) {
    if (fill_caller(&owner))
      set_owner(flow, &owner, PW_OWNER_BY_IO);
    return;
  }
  holder = map_lookup(MAP(flow_owners), &socket_id);
  if (holder)
    set_owner(flow, &holder->owner, holder->source);
}

static __always_inline void begin_flow(struct pw_flow *flow, const struct packet *packet, struct sock *sk, u64 now_ns)
{
  __builtin_memset(flow, 0, sizeof(*flow));
  __builtin_memcpy(&flow->socket_id, &packet->key, sizeof(packet->key));
  flow->net_ns = net_ns_of(sk);
  flow->net_cookie = net_cookie_of(sk);
  if (is_kernel_socket(sk))
    flow->head.flags = PW_KERNEL_SOCKET;
  flow->is_ingress = packet->is_ingress;
  find_owner(flow, sk, packet->is_ingress);
  flow->head.record_bytes = sizeof(*flow);
  flow->first_ns = now_ns;
  flow->last_ns = now_ns;
  count_packet(flow, packet);
}

static __always_inline void emit_flow(struct pw_flow *flow, u16 kind)
{
  u16 flags = flow->head.flags;
  if (!begin(&flow->head, kind, flow->head.cgroup_id))
    return;
  flow->head.flags = flags;
  flow->head.record_bytes = sizeof(*flow);
  output(flow, kind, sizeof(*flow));
}

static __always_inline void remember_flow(const struct pw_flow *flow)
{
  struct socket_flows first = {.slots = {flow->slot}, .count = 1};
  struct socket_flows *known = map_lookup(MAP(flow_sockets), &flow->socket_id);
  u64 number;
  if (!known) {
    map_update(MAP(flow_sockets), &flow->socket_id, &first, 0);
    return;
  }
  number = known->count;
  if (number < SOCKET_FLOWS) {
    BOUND(number, SOCKET_FLOWS - 1);
    known->slots[number] = flow->slot;
  }
  known->count++;
}

/* Where its places are being changed on another CPU: a flow of its own of this one packet. */
static __always_inline void emit_contended(const struct packet *packet, struct sock *sk, u64 now_ns)
{
  struct pw_flow *flow = RESERVE(pw_flow, PW_FLOW_END, cgroup_of_socket(sk));
  if (!flow)
    return;
  begin_flow(flow, packet, sk, now_ns);
  flow->head.kind = PW_FLOW_END;
  flow->head.time_ns = now_ns;
  flow->end_cause = PW_END_CONTENDED;
  submit(flow, PW_FLOW_END);
}

static __always_inline void end_flow(struct pw_flow *flow, u8 cause)
{
  flow->end_cause = cause;
  emit_flow(flow, PW_FLOW_END);
}

/* Another CPU, or what interrupts this one, may be ahead in time, so the age is signed. */
static __always_inline bool is_idle(const struct pw_flow *flow, u64 now_ns)
{
  return (s64)(now_ns - flow->last_ns) > (s64)PW_FLOW_IDLE_NS;
}

/* With the lock. The packet is counted. */
static __always_inline struct pw_flow_slot *put_flow(u32 set, const struct packet *packet, struct sock *sk, u64 now_ns)
{
  struct pw_flow_slot *slot = find_flow(set, &packet->key); /* another CPU may have been first */
  u32 index = 0;
  if (slot && !is_idle(&slot->flow, now_ns)) {
    slot->flow.last_ns = now_ns;
    count_packet(&slot->flow, packet);
    return slot;
  }
  if (!slot)
    slot = choose_place(set, &index);
  else
    index = slot->flow.slot;
  if (!slot)
    return 0;
  if (slot->flow.first_ns && !slot->flow.end_cause)
    end_flow(&slot->flow, is_idle(&slot->flow, now_ns) ? PW_END_IDLE : PW_END_EVICTED);
  slot->version++;
  begin_flow(&slot->flow, packet, sk, now_ns);
  slot->flow.slot = index;
  slot->version++;
  remember_flow(&slot->flow);
  emit_flow(&slot->flow, PW_FLOW_START);
  return slot;
}

static __always_inline struct pw_flow_slot *add_flow(u32 set, const struct packet *packet, struct sock *sk, u64 now_ns)
{
  struct pw_flow_slot *slot;
  u32 one = 1;
  if (map_update(MAP(flow_locks), &set, &one, UPDATE_IF_NEW)) {
    emit_contended(packet, sk, now_ns);
    return 0;
  }
  slot = put_flow(set, packet, sk, now_ns);
  map_delete(MAP(flow_locks), &set);
  return slot;
}

/* A flow that began with a packet that came in learns who answers. */
static __always_inline void learn_sender(struct pw_flow *flow)
{
  struct owner owner = {};
  if (!(flow->head.flags & PW_KERNEL_SOCKET) && fill_caller(&owner))
    set_owner(flow, &owner, PW_OWNER_BY_IO);
  else
    flow->owner_source = PW_OWNER_BY_IO;
}

static __always_inline struct pw_flow_slot *on_flow(struct __sk_buff *skb, const struct packet *packet)
{
  u32 set = set_of(&packet->key), tick = jiffies64();
  struct pw_flow_slot *slot = find_flow(set, &packet->key);
  u64 now_ns;
  struct sock *sk;
  if (!slot || !is_time_known(slot, tick)) {
    now_ns = bpf_ktime_get_boot_ns();
    if (!slot || is_idle(&slot->flow, now_ns)) {
      sk = plain_socket(skb->sk);
      return sk ? add_flow(set, packet, sk, now_ns) : 0;
    }
    slot->tick = tick;
    slot->flow.last_ns = now_ns;
  }
  count_packet(&slot->flow, packet);
  if (!packet->is_ingress && slot->flow.owner_source != PW_OWNER_BY_IO)
    learn_sender(&slot->flow);
  return slot;
}

#endif
