/* Internal: records that need no pieces, as nearly all do, written straight to their place. */
#ifndef PODWITNESS_DIRECT_H
#define PODWITNESS_DIRECT_H

#include "plan.h"

/* What a JSON object became whose keys the steps look at: pairs of a msgpack map, in the output. */
struct pw_lifted {
  const uint8_t *at;
  size_t bytes;
  int64_t pairs;
};

enum pw_direct_outcome {
  PW_DIRECT_WRITTEN,
  PW_DIRECT_LIFTED,  /* nothing is written, but `lifted` is what merging gives; plan->seen says of which keys */
  PW_DIRECT_NOT,     /* no record for this way, or no room for what it could become */
};

enum pw_direct_outcome pw_direct_emit(const struct pw_plan *plan, const struct pw_record *record,
                                      struct pw_log_batch *batch, struct pw_lifted *lifted);

#endif
