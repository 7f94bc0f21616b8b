/* Who is behind each TCP socket: the map `sockets`. */
#ifndef PODWITNESS_SOCKET_TABLE_H
#define PODWITNESS_SOCKET_TABLE_H
#include "dialect.h"
#include "events.h"
#include "place.h"

struct owner {
  struct pw_entry entry;
  u64 start_ns;
  u64 cgroup_id;
  u32 pid;
  u32 uid;
  char comm[PW_COMM_BYTES];
};

struct socket_state {
  u64 socket; /* the address of the kernel's */
  u64 since_ns; /* connect(), accept or listen(), 0 if before the probes; tells sockets of the same address apart */
  u32 claims;
  u8 role;
  u8 owner_source;
  u8 simultaneous; /* a client that has met the other end's SYN: SYN_SENT -> SYN_RECV */
  u8 pad;
  struct owner owner;
};

_Static_assert(PW_VALUE_BYTES_sockets == sizeof(struct socket_state), "value of sockets");
_Static_assert((PW_ENTRIES_sockets & (PW_ENTRIES_sockets - 1)) == 0, "places are chosen by a mask");

static __always_inline u32 first_place_of_socket(u64 socket)
{
  return socket * 0x9e3779b97f4a7c15ull >> 32;
}

#define FIND_SOCKET_PLACE(socket, condition) \
  FIND_PLACE(socket_state, MAP(sockets), PW_ENTRIES_sockets, first_place_of_socket(socket), condition)

static __always_inline struct socket_state *find_socket(u64 socket)
{
  return FIND_SOCKET_PLACE(socket, place->socket == socket);
}

/* A place for a socket that has none. If all of them are taken one gives way, which nobody can choose: that socket
 * loses its owner, and its records say so. */
static __always_inline struct socket_state *place_for_socket(u64 socket)
{
  struct socket_state *state = FIND_SOCKET_PLACE(socket, take_place(&place->claims));
  u32 any;
  if (state)
    return state;
  any = (first_place_of_socket(socket) + bpf_get_prandom_u32() % PLACES_OF_KEY) & (PW_ENTRIES_sockets - 1);
  return map_lookup(MAP(sockets), &any);
}

/* Keeps the first free one on the way past all places. */
static __always_inline bool note_vacant(struct socket_state **vacant, struct socket_state *place)
{
  if (!*vacant && !place->claims)
    *vacant = place;
  return false;
}

/* The place that the socket has, else one for it: mostly by one look. NULL only where the verifier thinks so. */
static __always_inline struct socket_state *take_socket_place(u64 socket)
{
  struct socket_state *vacant = 0;
  struct socket_state *state = FIND_SOCKET_PLACE(socket, place->socket == socket || note_vacant(&vacant, place));
  if (state)
    return state;
  return vacant && take_place(&vacant->claims) ? vacant : place_for_socket(socket);
}

/* What is known of a socket from now on: nothing yet. */
static __always_inline void clear_socket(struct socket_state *state, u64 socket)
{
  state->since_ns = 0;
  state->role = 0;
  state->owner_source = PW_OWNER_NONE;
  state->simultaneous = 0;
  __builtin_memset(&state->owner, 0, sizeof(state->owner));
  state->socket = socket;
}

static __always_inline struct socket_state *hold_socket(u64 socket)
{
  struct socket_state *state = take_socket_place(socket);
  if (state)
    clear_socket(state, socket);
  return state;
}

static __always_inline void forget_socket(struct socket_state *state)
{
  state->socket = 0;
  leave_place(&state->claims);
}

#endif
