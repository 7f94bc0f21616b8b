/* What appeared and vanished in watched directories, on its way from the thread that sees it to the one that
 * receives it. */
#ifndef PODWITNESS_SIGHTINGS_H
#define PODWITNESS_SIGHTINGS_H

#include <stdint.h>

#include "pin.h"

#define PW_NAME_BYTES 256 /* NAME_MAX and NUL */

struct pw_sighting {
  int32_t wd;       /* -1 with PW_IN_Q_OVERFLOW: events were lost */
  uint32_t mask;
  int32_t child_wd; /* of a directory that appeared and is watched now, what is in it to be told next; or -1 */
  int32_t emptied;  /* what was in it came and went before it was watched */
  struct pw_pin pin; /* of what appeared, the receiver's; a directory has its numbers and error, and no descriptor */
  uint32_t name_bytes;
  char name[PW_NAME_BYTES];
};

#endif
