#include "resolve_streams.h"

#include <string.h>

enum { LENGTH_BYTES = 2 };

static void give_up(struct pw_resolutions *known, struct pw_stream *stream)
{
  if (!stream->is_lost)
    pw_resolutions_give_up(known);
  stream->is_lost = 1;
}

static struct pw_stream *stream_of(struct pw_resolutions *known, const struct pw_dns *dns)
{
  struct pw_stream *streams = pw_resolutions_streams(known), *oldest = streams;
  for (int at = 0; at < PW_DNS_STREAMS; at++) {
    struct pw_stream *stream = &streams[at];
    if (stream->last_ns != 0 && stream->socket_id == dns->socket_id && stream->is_ingress == dns->is_ingress)
      return stream;
    if (stream->last_ns < oldest->last_ns)
      oldest = stream;
  }
  if (oldest->seen_bytes != 0)
    give_up(known, oldest); /* within a message */
  memset(oldest, 0, offsetof(struct pw_stream, kept));
  oldest->socket_id = dns->socket_id;
  oldest->is_ingress = dns->is_ingress;
  oldest->next_sequence = dns->sequence;
  return oldest;
}

static void finish(struct pw_stream *stream, const struct pw_dns *dns, pw_message_taker *take, void *argument)
{
  const uint32_t total = stream->message_bytes - LENGTH_BYTES, kept = total < PW_DNS_BYTES ? total : PW_DNS_BYTES;
  struct pw_dns message = *dns;
  message.head.record_bytes = (uint32_t)sizeof message + kept;
  message.payload_bytes = (uint16_t)kept;
  message.payload_total_bytes = total;
  stream->seen_bytes = stream->message_bytes = 0;
  if (total != 0)
    take(argument, &message, stream->kept);
}

/* Takes what belongs to the message at hand; `bytes` NULL: these were not kept. Returns how many. */
static uint32_t take_part(struct pw_resolutions *known, struct pw_stream *stream, const uint8_t *bytes, uint32_t count)
{
  if (stream->seen_bytes < LENGTH_BYTES) {
    if (bytes == NULL) {
      give_up(known, stream);
      return count;
    }
    stream->length[stream->seen_bytes++] = bytes[0];
    if (stream->seen_bytes == LENGTH_BYTES)
      stream->message_bytes = LENGTH_BYTES + (uint32_t)(stream->length[0] << 8 | stream->length[1]);
    return 1;
  }
  const uint32_t left = stream->message_bytes - stream->seen_bytes, taken = count < left ? count : left;
  const uint32_t at = stream->seen_bytes - LENGTH_BYTES;
  const uint32_t room = at < PW_DNS_BYTES ? PW_DNS_BYTES - at : 0;
  if (bytes != NULL)
    memcpy(stream->kept + (room != 0 ? at : 0), bytes, taken < room ? taken : room);
  else if (room != 0)
    give_up(known, stream); /* a hole in what would be shown */
  stream->seen_bytes += taken;
  return taken;
}

static void take_bytes(struct pw_resolutions *known, struct pw_stream *stream, const struct pw_dns *dns,
                       const uint8_t *bytes, uint32_t count, pw_message_taker *take, void *argument)
{
  while (count != 0 && !stream->is_lost) {
    const uint32_t taken = take_part(known, stream, bytes, count);
    count -= taken;
    bytes = bytes != NULL ? bytes + taken : NULL;
    if (!stream->is_lost && stream->seen_bytes >= LENGTH_BYTES && stream->seen_bytes == stream->message_bytes)
      finish(stream, dns, take, argument);
  }
}

void pw_resolve_segment(struct pw_resolutions *known, const struct pw_dns *dns, const uint8_t *payload,
                        pw_message_taker *take, void *argument)
{
  if (known == NULL)
    return;
  struct pw_stream *stream = stream_of(known, dns);
  const int32_t ahead = (int32_t)(dns->sequence - stream->next_sequence);
  stream->last_ns = dns->head.time_ns != 0 ? dns->head.time_ns : 1;
  if (ahead > 0)
    give_up(known, stream);
  const uint32_t old = ahead < 0 ? (uint32_t)-(int64_t)ahead : 0;
  if (stream->is_lost || old >= dns->payload_total_bytes)
    return;
  if (old < dns->payload_bytes)
    take_bytes(known, stream, dns, payload + old, dns->payload_bytes - old, take, argument);
  const uint32_t missing_from = old > dns->payload_bytes ? old : dns->payload_bytes;
  take_bytes(known, stream, dns, NULL, dns->payload_total_bytes - missing_from, take, argument);
  stream->next_sequence = dns->sequence + dns->payload_total_bytes;
}
