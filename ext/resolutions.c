#include "resolutions.h"

#include <stdlib.h>
#include <string.h>

#include "dns.h"
#include "memory.h"
#include "resolve.h"
#include "resolve_streams.h"

enum { PLACES = 4, NAME_KEPT_BYTES = 255 };
#define SECOND_NS UINT64_C(1000000000)
/* A connection follows its resolution by some time, however short the TTL; and no answer is believed for long. */
#define TTL_LEAST_S 5
#define TTL_MOST_S 3600

struct resolved {
  uint64_t scope; /* namespace or cgroup */
  uint64_t expires_ns;
  uint8_t address[16];
  uint16_t family;
  uint8_t is_cgroup;
  uint8_t name_bytes;
  char name[NAME_KEPT_BYTES];
};

struct query {
  uint64_t key;
  uint64_t time_ns;
};

struct pw_resolutions {
  uint32_t host_net_ns;
  struct pw_unread unread;
  struct resolved names[PW_RESOLVED_NAMES];
  struct query queries[PW_OPEN_QUERIES];
  struct pw_stream streams[PW_DNS_STREAMS];
};

struct pw_resolutions *pw_resolutions_new(uint32_t host_net_ns)
{
  struct pw_resolutions *known = pw_memory_table(1, sizeof *known);
  if (known != NULL)
    known->host_net_ns = host_net_ns;
  return known;
}

void pw_resolutions_free(struct pw_resolutions *known)
{
  free(known);
}

struct pw_stream *pw_resolutions_streams(struct pw_resolutions *known)
{
  return known->streams;
}

void pw_resolutions_give_up(struct pw_resolutions *known)
{
  known->unread.streams++;
}

const struct pw_unread *pw_resolutions_unread(const struct pw_resolutions *known)
{
  return &known->unread;
}

static uint64_t mixed(uint64_t hash, uint64_t word)
{
  hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
  return hash ^ hash >> 32;
}

static uint64_t mixed_bytes(uint64_t hash, const void *bytes, uint32_t length)
{
  const uint8_t *at = bytes;
  for (uint32_t number = 0; number < length; number++)
    hash = mixed(hash, at[number]);
  return hash;
}

static void key_of(const struct pw_resolutions *known, const struct pw_inquirer *inquirer, const uint8_t address[16],
                   struct resolved *key)
{
  key->is_cgroup = inquirer->net_ns == known->host_net_ns;
  key->scope = key->is_cgroup ? inquirer->cgroup_id : inquirer->net_ns;
  key->family = inquirer->family;
  memcpy(key->address, address, sizeof key->address);
}

static int is_same(const struct resolved *one, const struct resolved *other)
{
  return one->scope == other->scope && one->is_cgroup == other->is_cgroup && one->family == other->family &&
         memcmp(one->address, other->address, sizeof one->address) == 0;
}

static uint32_t places_of(const struct resolved *key)
{
  const uint64_t hash = mixed_bytes(mixed(key->scope, key->family), key->address, sizeof key->address);
  return (uint32_t)(hash % (PW_RESOLVED_NAMES / PLACES)) * PLACES;
}

const char *pw_resolutions_find(const struct pw_resolutions *known, const struct pw_inquirer *inquirer,
                                const uint8_t address[16], uint64_t now_ns, uint32_t *name_bytes)
{
  struct resolved key = {0};
  key_of(known, inquirer, address, &key);
  const struct resolved *places = &known->names[places_of(&key)];
  for (int at = 0; at < PLACES; at++)
    if (places[at].name_bytes != 0 && is_same(&places[at], &key)) {
      *name_bytes = places[at].name_bytes;
      return places[at].expires_ns > now_ns ? places[at].name : NULL;
    }
  return NULL;
}

/* The address's own place, a free one, or that of what expires first. */
static struct resolved *place_for(struct pw_resolutions *known, const struct resolved *key)
{
  struct resolved *places = &known->names[places_of(key)], *best = places;
  for (int at = 0; at < PLACES; at++) {
    if (places[at].name_bytes != 0 && is_same(&places[at], key))
      return &places[at];
    if (places[at].expires_ns < best->expires_ns)
      best = &places[at];
  }
  return best;
}

static uint32_t lowered(char *name, uint32_t bytes)
{
  for (uint32_t at = 0; at < bytes; at++)
    if (name[at] >= 'A' && name[at] <= 'Z')
      name[at] = (char)(name[at] + 'a' - 'A');
  return bytes;
}

static void note_address(struct pw_resolutions *known, const struct pw_dns *dns, const struct pw_dns_message *message,
                         const struct pw_dns_answer *answer, const char *name, uint32_t name_bytes)
{
  const int is_ipv6 = answer->type == PW_DNS_AAAA;
  const struct pw_inquirer inquirer = {
      .cgroup_id = dns->head.cgroup_id, .net_ns = dns->net_ns, .family = is_ipv6 ? 10 : 2};
  const uint32_t bounded_s = answer->ttl_s < TTL_MOST_S ? answer->ttl_s : TTL_MOST_S;
  const uint32_t ttl_s = bounded_s > TTL_LEAST_S ? bounded_s : TTL_LEAST_S;
  uint8_t address[16] = {0};
  struct resolved key = {0};
  memcpy(address, message->bytes + answer->data_at, answer->data_bytes);
  key_of(known, &inquirer, address, &key);
  struct resolved *place = place_for(known, &key);
  key.expires_ns = dns->head.time_ns + ttl_s * SECOND_NS;
  key.name_bytes = (uint8_t)name_bytes;
  memcpy(key.name, name, name_bytes);
  *place = key;
}

/* All addresses of an answer count for the name that was asked for, over whatever chain of CNAMEs they came. */
static void note_addresses(struct pw_resolutions *known, const struct pw_dns *dns, const struct pw_dns_message *message,
                           const char *name, uint32_t name_bytes)
{
  if (name_bytes > NAME_KEPT_BYTES || pw_dns_code(message) != 0)
    return;
  for (uint16_t at = 0; at < message->kept; at++) {
    const struct pw_dns_answer *answer = &message->answers[at];
    if (pw_dns_is_address(answer))
      note_address(known, dns, message, answer, name, name_bytes);
  }
}

static struct query *query_for(struct pw_resolutions *known, uint64_t key)
{
  struct query *places = &known->queries[key % (PW_OPEN_QUERIES / PLACES) * PLACES], *oldest = places;
  for (int at = 0; at < PLACES; at++) {
    if (places[at].key == key)
      return &places[at];
    if (places[at].time_ns < oldest->time_ns)
      oldest = &places[at];
  }
  return oldest;
}

/* An answer counts if the same socket has asked the same server the same question under the same number: what a
 * stranger sends to an open port gives no name to anything. */
uint64_t pw_resolve_note(struct pw_resolutions *known, const struct pw_dns *dns, const uint8_t *payload)
{
  struct pw_dns_message message;
  char name[PW_DNS_NAME_BYTES];
  uint32_t name_bytes = 0;
  if (known == NULL)
    return 0;
  if (!pw_dns_parse(payload, dns->payload_bytes, dns->payload_bytes < dns->payload_total_bytes, &message)) {
    known->unread.malformed++;
    return 0;
  }
  if (message.question_at == 0)
    return 0;
  pw_dns_name(message.bytes, message.length, message.question_at, name, &name_bytes);
  lowered(name, name_bytes);
  const int is_client = pw_dns_is_answer(&message) == dns->is_ingress;
  const uint64_t asked = (uint64_t)message.question_type << 17 | (uint64_t)dns->remote_port << 1 | (uint64_t)is_client;
  uint64_t key = mixed(mixed(dns->socket_id, message.id), asked);
  key = mixed_bytes(mixed_bytes(key, dns->remote_address, sizeof dns->remote_address), name, name_bytes);
  struct query *query = query_for(known, key);
  if (!pw_dns_is_answer(&message)) {
    *query = (struct query){key, dns->head.time_ns};
    return 0;
  }
  if (query->key != key || query->time_ns == 0)
    return 0;
  const uint64_t took_ns = dns->head.time_ns > query->time_ns ? dns->head.time_ns - query->time_ns : 0;
  *query = (struct query){0, 0};
  if (is_client)
    note_addresses(known, dns, &message, name, name_bytes);
  return took_ns;
}
