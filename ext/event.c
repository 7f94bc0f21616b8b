/* From a checked record to its entry: time, its own pairs, those of its container. */
#include "event_encode.h"

/* Seconds are 32 bits in the protocol: times past 2106 stay there. */
static uint8_t *put_time(uint8_t *p, uint64_t wall_ns)
{
  const uint64_t seconds = wall_ns / 1000000000;
  const uint32_t shown = seconds < UINT32_MAX ? (uint32_t)seconds : UINT32_MAX;
  return pw_put_entry_head(p, shown, (uint32_t)(wall_ns % 1000000000));
}

static uint32_t pairs_of(const struct pw_head *head)
{
  switch (head->kind) {
    case PW_FLOW_START:
    case PW_FLOW_UPDATE:
    case PW_FLOW_END:
      return pw_flow_event_pairs((const struct pw_flow *)head);
    case PW_BIND:
    case PW_STATE_BOUND:
      return pw_bind_event_pairs((const struct pw_bind *)head);
    case PW_DNS:
      return pw_dns_event_pairs((const struct pw_dns *)head);
    default:
      return pw_is_process_event(head->kind) ? pw_process_event_pairs(head)
                                             : pw_network_event_pairs((const struct pw_tcp *)head);
  }
}

static uint8_t *put_pairs(uint8_t *p, const struct pw_head *head, uint32_t scope, const struct pw_event_clock *clock)
{
  switch (head->kind) {
    case PW_FLOW_START:
    case PW_FLOW_UPDATE:
    case PW_FLOW_END:
      return pw_put_flow_event(p, (const struct pw_flow *)head, scope, clock);
    case PW_BIND:
    case PW_STATE_BOUND:
      return pw_put_bind_event(p, (const struct pw_bind *)head, scope, clock);
    case PW_DNS:
      return pw_put_dns_event(p, (const struct pw_dns *)head, scope, clock);
    default:
      return pw_is_process_event(head->kind) ? pw_put_process_event(p, head, scope, clock)
                                             : pw_put_network_event(p, (const struct pw_tcp *)head, scope, clock);
  }
}

uint8_t *pw_put_event(uint8_t *p, const struct pw_head *head, const struct pw_fragment *fragment,
                      const struct pw_event_clock *clock)
{
  p = put_time(p, head->time_ns + (uint64_t)clock->wall_offset_ns);
  p = pw_put_map_head(p, pairs_of(head) + fragment->pair_count);
  p = put_pairs(p, head, fragment->scope, clock);
  return pw_put_bytes(p, fragment->pairs, fragment->pairs_bytes);
}
