/* Internal. What the drain tells the table of flows. All take NULL for no table. */
#ifndef PODWITNESS_FLOW_TRACK_H
#define PODWITNESS_FLOW_TRACK_H

#include "flow_table.h"

/* 0: this end was told already, for the flow was idle before its place was given away. */
int pw_flow_track_end(struct pw_flow_table *table, const struct pw_flow *flow);

/* The flows of the socket end at the next scan. */
void pw_flow_track_closed(struct pw_flow_table *table, uint64_t socket_id);

/* Takes one record that was not in a ring. 0: there was no room for it. */
int pw_drain_record(struct pw_drain *drain, const struct pw_head *head);

/* Before the first of them. Returns as pw_ring_drain. */
int pw_drain_begin(struct pw_drain *drain);

#endif
