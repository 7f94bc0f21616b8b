/* Tables that many CPUs put things into without a lock: arrays, where what has a key is in one of a few places from
 * the one on that its key leads to. Such a look takes neither a call nor a hash bucket, whose memory is cold by then
 * and makes up half of what a map of type hash costs.
 *
 * Of one key only one CPU at a time may look for a place: a process is forked once, a socket opened once. Two that
 * did so at once would find two. */
#ifndef PODWITNESS_PLACE_H
#define PODWITNESS_PLACE_H
#include "dialect.h"

#define PLACES_OF_KEY 8 /* one behind the other */

/* The first of a key's places, from `first` on, of which `condition` holds, which is written of `place`. NULL: of
 * none. `entries` of the map are places: a power of two. */
#define FIND_PLACE(type, map, entries, first, condition) ({ \
  struct type *found_ = 0; \
  _Pragma("clang loop unroll(disable)") \
  for (u32 number_ = 0; number_ < PLACES_OF_KEY; number_++) { \
    u32 at_ = ((u32)(first) + number_) & ((entries) - 1); \
    struct type *place = map_lookup(map, &at_); \
    if (!place || (condition)) { \
      found_ = place; \
      break; \
    } \
  } \
  OPAQUE(found_); /* or the compiler asks for the key again, not for NULL, which tells the verifier nothing */ \
  found_; \
})

/* `claims` is 1 while the place is taken, and more only while several want it. Of those that add to it at once at
 * most one finds a 1; all others take back what they added. */
static __always_inline bool take_place(u32 *claims)
{
  if (*(volatile u32 *)claims)
    return false;
  __sync_fetch_and_add(claims, 1);
  if (*(volatile u32 *)claims == 1)
    return true;
  __sync_fetch_and_add(claims, -1);
  return false;
}

/* By who took the place. Where one gives way to another both leave in the end: it must not go below 0, or nobody ever
 * got the place again. */
static __always_inline void leave_place(u32 *claims)
{
  if (*(volatile u32 *)claims)
    __sync_fetch_and_add(claims, -1);
}

#endif
