/* Tables that many CPUs put things into without a lock: arrays, where what has a key is in one of a few places from
 * the one on that its key leads to. Such a look takes neither a call nor a hash bucket, whose memory is cold by then
 * and makes up half of what a map of type hash costs. */
#ifndef PODWITNESS_PLACE_H
#define PODWITNESS_PLACE_H
#include "dialect.h"

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

/* Where one gives way to another both leave in the end: it must not go below 0, or nobody ever got the place again. */
static __always_inline void leave_place(u32 *claims)
{
  if (*(volatile u32 *)claims)
    __sync_fetch_and_add(claims, -1);
}

#endif
