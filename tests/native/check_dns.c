/* Packets of DNS that are cut, changed or pure noise: read where they end, and written within the room that was
 * asked for. */
#include "check.h"

#include "ext/dns.h"
#include "ext/event_encode.h"
#include "ext/resolve.h"

enum { ROUNDS = 60000, SLACK = 32 };

static const uint8_t SAMPLE[] =
    "\0\7\x81\x80\0\1\0\4\0\0\0\0"
    "\3www\7example\3com\0\0\1\0\1"
    "\xc0\x0c\0\5\0\1\0\0\1\x2c\0\6\3cdn\xc0\x10"
    "\xc0\x2d\0\1\0\1\0\0\0\x1e\0\4\x0a\0\0\x09"
    "\xc0\x0c\0\x10\0\1\0\0\0\1\0\5\4text"
    "\xc0\x0c\0\x21\0\1\0\0\0\1\0\x0b\0\1\0\2\0\x50\3srv\xc0\x10";

struct packet {
  struct pw_dns dns;
  uint8_t payload[PW_DNS_BYTES];
};

/* At its own address, so that a byte too far is seen. */
static int check_written(const struct packet *packet, const struct pw_event_clock *clock)
{
  const struct pw_fragment none = {(const uint8_t *)"", 0, 0, PW_SCOPE_HOST, 0};
  const struct pw_head *record = (const struct pw_head *)(void *)check_copy(packet, packet->dns.head.record_bytes);
  CHECK(pw_event_check(record, packet->dns.head.record_bytes) == PW_OK);
  const uint32_t room = pw_event_room(record);
  uint8_t *out = check_copy("", 0);
  out = realloc(out, room + SLACK);
  if (!out)
    abort();
  const uint8_t *end = pw_put_event(out, record, &none, clock);
  CHECK((size_t)(end - out) <= room);
  CHECK(pw_msgpack_skip(out, end) == end);
  free(out);
  free((void *)(uintptr_t)record);
  return 0;
}

static int written_failures;

static void take(void *argument, const struct pw_dns *dns, const uint8_t *payload)
{
  struct packet packet = {.dns = *dns};
  memcpy(packet.payload, payload, dns->payload_bytes);
  written_failures += check_written(&packet, argument);
}

static void make(struct packet *packet, uint64_t *state)
{
  size_t bytes = sizeof SAMPLE - 1;
  memset(packet, 0, sizeof *packet);
  memcpy(packet->payload, SAMPLE, bytes);
  if (check_random(state) % 8 == 0)
    for (bytes = 0; bytes < check_random(state) % PW_DNS_BYTES; bytes++)
      packet->payload[bytes] = (uint8_t)check_random(state);
  else
    for (unsigned times = check_random(state) % 4; times > 0; times--)
      bytes = check_mutate(packet->payload, bytes, state);
  if (check_random(state) % 4 == 0)
    bytes = check_random(state) % (bytes + 1);
  packet->dns.head.kind = PW_DNS;
  packet->dns.head.time_ns = check_random(state) >> 24;
  packet->dns.head.record_bytes = (uint32_t)(sizeof packet->dns + bytes);
  packet->dns.payload_bytes = (uint16_t)bytes;
  packet->dns.payload_total_bytes = (uint32_t)bytes + (check_random(state) % 4 == 0 ? check_random(state) % 3000 : 0);
  packet->dns.family = check_random(state) & 1 ? 2 : 10;
  packet->dns.is_ingress = check_random(state) & 1;
  packet->dns.socket_id = check_random(state) % 100;
  packet->dns.owner_pid = check_random(state) & 1;
}

int check_dns(void)
{
  uint64_t state = 20251128;
  struct pw_resolutions *known = pw_resolutions_new(1);
  CHECK(known != NULL);
  struct pw_event_clock clock = {.names = known};
  for (int round = 0; round < ROUNDS; round++) {
    static struct packet packet;
    make(&packet, &state);
    uint8_t *payload = check_copy(packet.payload, packet.dns.payload_bytes);
    if (check_random(&state) & 1) {
      packet.dns.took_ns = pw_resolve_note(known, &packet.dns, payload);
      CHECK(check_written(&packet, &clock) == 0);
    } else {
      packet.dns.sequence = (uint32_t)check_random(&state) % 4;
      pw_resolve_segment(known, &packet.dns, payload, take, &clock);
      CHECK(written_failures == 0);
    }
    free(payload);
  }
  pw_resolutions_free(known);
  return 0;
}
