#include "translations.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

enum { PLACES = 4 };

struct pw_translations {
  uint64_t added;
  struct pw_translation all[PW_TRANSLATIONS];
};

struct pw_translations *pw_translations_new(void)
{
  return pw_memory_table(1, sizeof(struct pw_translations));
}

void pw_translations_free(struct pw_translations *known)
{
  free(known);
}

static uint64_t mixed(uint64_t hash, const struct pw_place *place)
{
  uint64_t words[2];
  memcpy(words, place->address, sizeof words);
  hash = (hash ^ words[0] ^ place->port) * UINT64_C(0x9e3779b97f4a7c15);
  hash = (hash ^ hash >> 32 ^ words[1]) * UINT64_C(0x9e3779b97f4a7c15);
  return hash ^ hash >> 32;
}

static uint32_t places_of(uint16_t protocol, const struct pw_place *source, const struct pw_place *destination)
{
  return (uint32_t)(mixed(mixed(protocol, source), destination) % (PW_TRANSLATIONS / PLACES)) * PLACES;
}

static int is_place(const struct pw_place *one, const struct pw_place *other)
{
  return one->port == other->port && memcmp(one->address, other->address, sizeof one->address) == 0;
}

static int is_same(const struct pw_translation *one, uint16_t family, uint16_t protocol, const struct pw_place *source,
                   const struct pw_place *destination)
{
  return one->number != 0 && one->family == family && one->protocol == protocol && is_place(&one->source, source) &&
         is_place(&one->destination, destination);
}

void pw_translations_add(struct pw_translations *known, const struct pw_translation *translation)
{
  struct pw_translation *places =
      &known->all[places_of(translation->protocol, &translation->source, &translation->destination)];
  struct pw_translation *best = places;
  for (int at = 0; at < PLACES; at++) {
    if (is_same(&places[at], translation->family, translation->protocol, &translation->source,
                &translation->destination)) {
      best = &places[at];
      break;
    }
    if (places[at].number < best->number)
      best = &places[at];
  }
  *best = *translation;
  best->number = ++known->added;
}

const struct pw_translation *pw_translations_find(const struct pw_translations *known, uint16_t family,
                                                  uint16_t protocol, const struct pw_place *source,
                                                  const struct pw_place *destination)
{
  const struct pw_translation *places = &known->all[places_of(protocol, source, destination)];
  for (int at = 0; at < PLACES; at++)
    if (is_same(&places[at], family, protocol, source, destination))
      return &places[at];
  return NULL;
}
