/* ECS: source is the client, destination the server. */
#include "event_ends.h"

#include "community_id.h"
#include "event_encode.h"
#include "program.h"
#include "resolutions.h"

enum { FAMILY_IPV4 = 2, FAMILY_IPV6 = 10 };

static int is_icmp(const struct pw_ends *ends)
{
  return ends->protocol == PW_PROTOCOL_ICMP || ends->protocol == PW_PROTOCOL_ICMPV6;
}

static int is_ipv6(const struct pw_ends *ends)
{
  return ends->family == FAMILY_IPV6 && !pw_is_mapped_ipv4(ends->local_address);
}

static int is_translated(const struct pw_ends *ends, int local)
{
  const struct pw_translation *known = ends->translation;
  if (known == NULL)
    return 0;
  return local ? memcmp(&known->source, &known->translated_source, sizeof known->source) != 0
               : memcmp(&known->destination, &known->translated_destination, sizeof known->destination) != 0;
}

/* One end: address, port and, where it is counted, what it sent. */
static uint8_t *put_end(uint8_t *p, const struct pw_ends *ends, int local)
{
  unsigned pairs = 1;
  uint8_t *const map = p = begin_map(p);
  p = pw_put_address(PUT(p, "ip"), local ? ends->local_address : ends->remote_address, ends->family == FAMILY_IPV6);
  if (!is_icmp(ends)) {
    p = pw_put_uint(PUT(p, "port"), local ? ends->local_port : ends->remote_port);
    pairs++;
  }
  if (!local && ends->domain != NULL) {
    p = pw_put_bytes(pw_put_str_head(PUT(p, "domain"), ends->domain_bytes), ends->domain, ends->domain_bytes);
    pairs++;
  }
  if (is_translated(ends, local)) {
    const struct pw_place *to =
        local ? &ends->translation->translated_source : &ends->translation->translated_destination;
    p = pw_put_map_head(PUT(p, "nat"), 2);
    p = pw_put_address(PUT(p, "ip"), to->address, ends->translation->family == FAMILY_IPV6);
    p = pw_put_uint(PUT(p, "port"), to->port);
    pairs++;
  }
  if (ends->has_counts) {
    p = pw_put_uint(PUT(p, "bytes"), local ? ends->bytes_sent : ends->bytes_received);
    p = pw_put_uint(PUT(p, "packets"), local ? ends->packets_sent : ends->packets_received);
    pairs += 2;
  }
  end_map(map, pairs);
  return p;
}

/* As IPv4 where it is that on the wire. */
static struct pw_place place_of(const struct pw_ends *ends, int local, uint16_t family)
{
  struct pw_place place = {.port = local ? ends->local_port : ends->remote_port};
  const uint8_t *address = local ? ends->local_address : ends->remote_address;
  const int is_short = family == FAMILY_IPV4, is_mapped = is_short && ends->family == FAMILY_IPV6;
  memcpy(place.address, address + (is_mapped ? 12 : 0), is_short ? 4 : sizeof place.address);
  return place;
}

void pw_know_other_end(struct pw_ends *ends, const struct pw_head *head, uint32_t net_ns,
                       const struct pw_event_clock *clock)
{
  const int is_mapped = ends->family == FAMILY_IPV6 && pw_is_mapped_ipv4(ends->remote_address);
  const uint16_t family = is_mapped ? FAMILY_IPV4 : ends->family;
  const struct pw_inquirer inquirer = {.cgroup_id = head->cgroup_id, .net_ns = net_ns, .family = family};
  if (ends->is_server || ends->is_listener || !ends->has_role)
    return;
  const struct pw_place local = place_of(ends, 1, family), remote = place_of(ends, 0, family);
  if (clock->names != NULL)
    ends->domain = pw_resolutions_find(clock->names, &inquirer, remote.address, head->time_ns, &ends->domain_bytes);
  if (clock->translations != NULL)
    ends->translation = pw_translations_find(clock->translations, family, ends->protocol, &local, &remote);
}

uint8_t *pw_put_ends(uint8_t *p, const struct pw_ends *ends)
{
  if (ends->is_listener)
    return put_end(PUT(p, "destination"), ends, 1);
  p = put_end(PUT(p, "source"), ends, !ends->is_server);
  return put_end(PUT(p, "destination"), ends, ends->is_server);
}

static uint8_t *put_transport(uint8_t *p, uint8_t protocol)
{
  switch (protocol) {
    case PW_PROTOCOL_TCP:
      return PUT(p, "tcp");
    case PW_PROTOCOL_UDP:
      return PUT(p, "udp");
    case PW_PROTOCOL_ICMP:
      return PUT(p, "icmp");
    case PW_PROTOCOL_ICMPV6:
      return PUT(p, "ipv6-icmp");
    default:
      return pw_put_decimal(p, protocol);
  }
}

static uint8_t *put_community_id(uint8_t *p, const struct pw_ends *ends)
{
  const int is_turned = ends->is_server, is_of_icmp = is_icmp(ends), is_long = is_ipv6(ends);
  const size_t mapped_at = ends->family == FAMILY_IPV6 && !is_long ? 12 : 0;
  const uint8_t *local = ends->local_address + mapped_at, *remote = ends->remote_address + mapped_at;
  const struct pw_tuple tuple = {.source_address = is_turned ? remote : local,
                                 .destination_address = is_turned ? local : remote,
                                 .source_port = is_turned && !is_of_icmp ? ends->remote_port : ends->local_port,
                                 .destination_port = is_turned && !is_of_icmp ? ends->local_port : ends->remote_port,
                                 .address_bytes = is_long ? 16 : 4,
                                 .protocol = ends->protocol};
  p = pw_put_str_head(p, PW_COMMUNITY_ID_BYTES);
  pw_community_id(&tuple, 0, (char *)p);
  return p + PW_COMMUNITY_ID_BYTES;
}

uint8_t *pw_put_network(uint8_t *p, const struct pw_ends *ends, const struct pw_word *application)
{
  unsigned pairs = 2;
  p = PUT(p, "network");
  uint8_t *const map = p = begin_map(p);
  p = put_transport(PUT(p, "transport"), ends->protocol);
  p = PUT(p, "type");
  p = is_ipv6(ends) ? PUT(p, "ipv6") : PUT(p, "ipv4");
  if (application != NULL) {
    p = put_word(PUT(p, "protocol"), application);
    pairs++;
  }
  if (!ends->is_listener) {
    p = put_community_id(PUT(p, "community_id"), ends);
    pairs++;
  }
  if (!ends->is_listener && ends->has_role) {
    p = PUT(p, "direction");
    p = ends->is_server ? PUT(p, "ingress") : PUT(p, "egress");
    pairs++;
  }
  if (ends->has_counts) {
    p = pw_put_uint(PUT(p, "bytes"), ends->bytes_sent + ends->bytes_received);
    p = pw_put_uint(PUT(p, "packets"), ends->packets_sent + ends->packets_received);
    pairs += 2;
  }
  end_map(map, pairs);
  return p;
}

static uint8_t *put_process(uint8_t *p, const struct pw_owner *owner, const struct pw_event_clock *clock)
{
  unsigned pairs = 3;
  p = PUT(p, "process");
  uint8_t *const map = p = begin_map(p);
  p = pw_put_uint(PUT(p, "pid"), owner->pid);
  p = pw_put_comm(PUT(p, "name"), owner->comm);
  if (owner->start_ns != 0) {
    p = pw_put_entity_id(PUT(p, "entity_id"), clock->node_id, owner->start_ns, owner->pid);
    pairs++;
  }
  const struct pw_actor actor = {owner->start_ns, owner->since_ns, owner->time_ns, owner->comm, owner->pid};
  p = pw_put_program(p, clock, &actor, &pairs);
  if (owner->entry != NULL)
    p = pw_put_entry_leader(p, owner->entry, clock, &pairs);
  p = pw_put_user(p, owner->uid);
  end_map(map, pairs);
  return p;
}

uint8_t *pw_put_owner(uint8_t *p, const struct pw_owner *owner, const struct pw_event_clock *clock)
{
  if (owner->pid == 0)
    return p;
  return pw_put_user(put_process(p, owner, clock), owner->uid);
}

uint8_t *pw_put_owner_source(uint8_t *p, uint8_t source)
{
  static const struct pw_word sources[] = {PW_WORD("none"), PW_WORD("listener"), PW_WORD("close"),
                                           PW_WORD("io"),   PW_WORD("call"),     PW_WORD("bind"),
                                           PW_WORD("descriptor")};
  return put_word(p, &sources[source <= PW_OWNER_BY_DESCRIPTOR ? source : 0]);
}

uint8_t *pw_put_net_namespace(uint8_t *p, uint32_t net_ns, uint64_t net_cookie)
{
  p = pw_put_map_head(PUT(p, "namespaces"), net_cookie != 0 ? 2 : 1);
  p = pw_put_uint(PUT(p, "net"), net_ns);
  return net_cookie != 0 ? pw_put_uint(PUT(p, "net_cookie"), net_cookie) : p;
}
