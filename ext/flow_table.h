/* The map `flows` of the probes, as the collector sees it: mapped, read only. It tells what goes on and what has
 * become idle, which no program in the kernel would notice. */
#ifndef PODWITNESS_FLOW_TABLE_H
#define PODWITNESS_FLOW_TABLE_H

#include "event.h"

struct pw_flow_table;

/* Maps the `slots` places behind a descriptor. A flow is reported every interval_ns while it has packets, and
 * ended when it had none for idle_ns, which is what the probes were compiled with. NULL: errno tells why. */
struct pw_flow_table *pw_flow_table_open(int fd, uint32_t slots, uint64_t interval_ns, uint64_t idle_ns);
void pw_flow_table_close(struct pw_flow_table *table);

/* Reports, as records out of the ring would be, what is due at now_ns (CLOCK_BOOTTIME); `is_last`: all that was
 * not told yet. Ends early with drain->end PW_DRAIN_FULL where an output has no room, and goes on there the next
 * time; else with PW_DRAIN_EMPTY. Returns as pw_ring_drain. */
int pw_flow_table_scan(struct pw_flow_table *table, struct pw_drain *drain, uint64_t now_ns, int is_last);

#endif
