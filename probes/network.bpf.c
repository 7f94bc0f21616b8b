/* TCP: who connects where, who listens, what was transferred, how it ended.
 *
 * The state of a socket changes in the process that asked for it, or in a soft interrupt where the current
 * process is anybody. So who is behind a socket is noted where it is certain, best last:
 *   accept     SYN_RECV -> ESTABLISHED is a soft interrupt: the owner of the listener on that address and port
 *   close      FIN_WAIT1 and LAST_ACK are close() or shutdown() by a holder
 *   first I/O  the first to read or write: the worker that accepted, or that inherited
 *   call       CLOSE -> SYN_SENT is connect(), -> LISTEN is listen() */
#include "dialect.h"
#include "emit.h"
#include "events.h"
#include "socket.h"

#define EPIPE 32
#define ECONNRESET 104

#define PF_KTHREAD 0x00200000

/* What the caller of connect() or listen() is behind from now on. */
static __always_inline struct socket_state *begin_socket(struct sock *sk, u8 role, u64 now_ns)
{
  struct socket_state *state = hold_socket(number_of(sk));
  if (!state)
    return 0;
  state->since_ns = now_ns;
  state->role = role;
  state->owner_source = PW_OWNER_BY_CALL;
  fill_owner(&state->owner);
  return state;
}

static __always_inline struct socket_state *on_listen(struct sock *sk, u64 now_ns)
{
  struct socket_state *state = begin_socket(sk, PW_LISTENER, now_ns);
  struct listener_key place = {};
  struct listener listener = {.socket = (u64)sk};
  if (!state)
    return 0;
  fill_listener_key(&place, sk);
  listener.owner = state->owner;
  map_update(MAP(listeners), &place, &listener, 0);
  return state;
}

static __always_inline struct listener *find_listener(struct sock *sk)
{
  struct listener_key place = {};
  struct listener *found;
  fill_listener_key(&place, sk);
  found = map_lookup(MAP(listeners), &place);
  if (found)
    return found;
  __builtin_memset(place.address, 0, sizeof(place.address));
  return map_lookup(MAP(listeners), &place);
}

static __always_inline void on_accepted(struct socket_state *state, struct sock *sk, u64 now_ns)
{
  struct listener *listener = find_listener(sk);
  state->since_ns = now_ns;
  state->role = PW_SERVER;
  if (listener) {
    state->owner = listener->owner;
    state->owner_source = PW_OWNER_BY_LISTENER;
  }
}

/* The caller becomes the owner of an accepted socket if nothing better is known. */
static __always_inline void claim(struct sock *sk, u8 source)
{
  struct socket_state *state = find_socket(number_of(sk));
  if (!state || state->role != PW_SERVER)
    return;
  if (state->owner_source >= source && state->owner_source != PW_OWNER_BY_DESCRIPTOR)
    return;
  fill_owner(&state->owner);
  state->owner_source = source;
}

static __always_inline void on_close_called(struct sock *sk)
{
  /* A kernel thread that closes for somebody (a delayed fput) is not the holder. */
  if (!(CURRENT_FIELD(CURRENT_TASK(), flags) & PF_KTHREAD))
    claim(sk, PW_OWNER_BY_CLOSE);
}

static __always_inline void forget_listener(struct sock *sk)
{
  struct listener_key place = {};
  struct listener *listener;
  fill_listener_key(&place, sk);
  listener = map_lookup(MAP(listeners), &place);
  if (listener && listener->socket == (u64)sk)
    map_delete(MAP(listeners), &place);
}

/* A reset that came in has just set the error. One that goes out is seen by its way: without an error nothing
 * else leads from an open state straight to CLOSE (SO_LINGER 0, close() with unread bytes, ss -K). */
static __always_inline bool is_reset(int old_state, int error)
{
  if (error)
    return error == ECONNRESET || error == EPIPE;
  return old_state == TCP_ESTABLISHED || old_state == TCP_CLOSE_WAIT;
}

static __always_inline u16 closing_kind(int old_state)
{
  if (old_state == TCP_LISTEN)
    return PW_TCP_UNLISTEN;
  return old_state == TCP_SYN_SENT || old_state == TCP_SYN_RECV ? PW_TCP_CONNECT_FAILED : PW_TCP_CLOSE;
}

static __always_inline u8 role_by_state(int old_state)
{
  if (old_state == TCP_LISTEN)
    return PW_LISTENER;
  return old_state == TCP_SYN_SENT ? PW_CLIENT : 0;
}

/* What is known of a socket that ends, NULL if that is not to be told. Those without a state were opened before the
 * probes. One that ends in SYN_RECV never was a connection: what is known of its address was of an older socket. One
 * that was in CLOSE is done with already. */
static __always_inline struct socket_state *on_closed(struct sock *sk, int old_state)
{
  struct socket_state *state = find_socket(number_of(sk));
  if (old_state == TCP_LISTEN)
    forget_listener(sk);
  if (old_state == TCP_SYN_RECV && !(state && state->simultaneous)) {
    if (state)
      forget_socket(state);
    return 0;
  }
  if (!state && old_state != TCP_CLOSE) {
    state = hold_socket(number_of(sk));
    if (state)
      state->role = role_by_state(old_state);
  }
  return state;
}

/* Both ends called connect() at once. */
static __always_inline void on_simultaneous_open(struct sock *sk)
{
  struct socket_state *state = find_socket(number_of(sk));
  if (state)
    state->simultaneous = 1;
}

static __always_inline struct socket_state *on_established(struct sock *sk, int old_state, u64 now_ns)
{
  u64 socket = number_of(sk);
  struct socket_state *state;
  if (old_state != TCP_SYN_RECV)
    return find_socket(socket);
  state = take_socket_place(socket);
  if (!state || (state->socket == socket && state->simultaneous))
    return state;
  clear_socket(state, socket);
  on_accepted(state, sk, now_ns);
  return state;
}

static __always_inline void fill_end(struct pw_tcp *out, struct sock *sk, u16 kind, int old_state)
{
  int error = FIELD(sk, sk_err);
  if (kind == PW_TCP_CONNECT_FAILED)
    out->error = error;
  if (kind == PW_TCP_CLOSE && is_reset(old_state, error))
    out->head.flags |= PW_RESET;
  fill_counters(out, sk, old_state);
}

/* For all kinds in one place: it is most of the program. `kind` is one of TCP, which the compiler has to see. */
static __always_inline void
emit_tcp(struct sock *sk, struct socket_state *state, u16 kind, int old_state, u64 now_ns)
{
  struct pw_tcp *out;
  if (kind < PW_TCP_CONNECT || kind > PW_TCP_UNLISTEN)
    return;
  out = RESERVE_AT(pw_tcp, 0, kind, flow_cgroup_id(sk, state), now_ns);
  if (!out)
    return;
  fill_tcp(out, sk, state);
  if (kind == PW_TCP_LISTEN)
    out->backlog = FIELD(sk, sk_max_ack_backlog);
  else if (kind == PW_TCP_CLOSE || kind == PW_TCP_CONNECT_FAILED)
    fill_end(out, sk, kind, old_state);
  submit(out, PW_TCP_CLOSE); /* any kind of flow */
}

PROGRAM(inet_sock_set_state)
{
  struct sock *sk = ARGUMENT(0);
  int old_state = ctx[1], new_state = ctx[2];
  struct socket_state *state = 0;
  u64 now_ns;
  u16 kind;
  if (FIELD(sk, sk_protocol) != IPPROTO_TCP)
    return 0;
  switch (new_state) { /* the time is asked for where it is needed: that is a call */
  case TCP_SYN_SENT:
    begin_socket(sk, PW_CLIENT, bpf_ktime_get_boot_ns());
    return 0;
  case TCP_SYN_RECV:
    if (old_state == TCP_SYN_SENT)
      on_simultaneous_open(sk);
    return 0;
  case TCP_FIN_WAIT1:
  case TCP_LAST_ACK:
    on_close_called(sk);
    return 0;
  case TCP_LISTEN:
    now_ns = bpf_ktime_get_boot_ns();
    state = on_listen(sk, now_ns);
    kind = PW_TCP_LISTEN;
    break;
  case TCP_ESTABLISHED:
    now_ns = bpf_ktime_get_boot_ns();
    state = on_established(sk, old_state, now_ns);
    kind = state && state->role == PW_SERVER ? PW_TCP_ACCEPT : PW_TCP_CONNECT;
    break;
  case TCP_CLOSE:
    now_ns = bpf_ktime_get_boot_ns();
    state = on_closed(sk, old_state);
    kind = closing_kind(old_state);
    break;
  default:
    return 0;
  }
  if (!state)
    return 0;
  emit_tcp(sk, state, kind, old_state, now_ns);
  if (new_state == TCP_CLOSE)
    forget_socket(state);
  return 0;
}

static __always_inline int on_io(struct sock *sk)
{
  if (FIELD(sk, sk_protocol) == IPPROTO_TCP)
    claim(sk, PW_OWNER_BY_IO);
  return 0;
}

/* Every kind of read from a TCP socket, splice too. */
PROGRAM(tcp_rcv_space_adjust)
{
  return on_io(ARGUMENT(0));
}

PROGRAM(tcp_sendmsg_locked)
{
  return on_io(ARGUMENT(0));
}

/* By any socket, of UDP and UNIX too. */
PROGRAM(sock_send_length)
{
  return on_io(ARGUMENT(0));
}
