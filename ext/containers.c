#include <stdlib.h>
#include <string.h>

#include "event.h"
#include "memory.h"

/* Open addressing with linear probing. At most half the slots are taken, so a
 * search is short and always meets a free slot. */
struct slot {
  uint64_t cgroup_id;
  struct pw_fragment fragment; /* pairs is NULL in a free slot */
};

struct pw_containers {
  uint64_t max_bytes;
  uint64_t bytes;
  uint32_t max_entries;
  uint32_t count;
  uint32_t mask;
  struct slot slots[];
};

/* Cgroup ids are counted up, so the low bits alone would do; multiplying
 * spreads ids that were chosen (a container can make cgroups at will). */
static uint32_t home_of(const struct pw_containers *table, uint64_t cgroup_id)
{
  return (uint32_t)((cgroup_id * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & table->mask;
}

/* The cgroup's slot, or the free one where it would go. */
static uint32_t slot_of(const struct pw_containers *table, uint64_t cgroup_id)
{
  uint32_t at = home_of(table, cgroup_id);
  while (table->slots[at].fragment.pairs != NULL && table->slots[at].cgroup_id != cgroup_id)
    at = (at + 1) & table->mask;
  return at;
}

struct pw_containers *pw_containers_new(uint32_t max_entries, uint64_t max_bytes)
{
  uint64_t slots = 16;
  while (slots < 2 * (uint64_t)max_entries)
    slots *= 2;
  struct pw_containers *table = pw_memory_table(1, sizeof *table + slots * sizeof table->slots[0]);
  if (table == NULL)
    return NULL;
  table->max_entries = max_entries;
  table->max_bytes = max_bytes;
  table->mask = (uint32_t)(slots - 1);
  return table;
}

void pw_containers_free(struct pw_containers *table)
{
  if (table == NULL)
    return;
  for (uint64_t at = 0; at <= table->mask; at++)
    free((void *)(uintptr_t)table->slots[at].fragment.pairs);
  free(table);
}

int pw_containers_set(struct pw_containers *table, uint64_t cgroup_id, const struct pw_fragment *fragment)
{
  struct slot *slot = &table->slots[slot_of(table, cgroup_id)];
  const uint8_t *former = slot->fragment.pairs;
  const uint64_t bytes = table->bytes - slot->fragment.pairs_bytes + fragment->pairs_bytes;
  if (bytes > table->max_bytes || fragment->pairs_bytes > PW_FRAGMENT_BYTES)
    return PW_E_TABLE_FULL;
  if (former == NULL && table->count == table->max_entries)
    return PW_E_TABLE_FULL;
  uint8_t *pairs = malloc((size_t)fragment->pairs_bytes + 1);
  if (pairs == NULL)
    return PW_E_MEMORY;
  if (fragment->pairs_bytes > 0)
    memcpy(pairs, fragment->pairs, fragment->pairs_bytes);
  table->bytes = bytes;
  table->count += former == NULL;
  slot->cgroup_id = cgroup_id;
  slot->fragment = *fragment;
  slot->fragment.pairs = pairs;
  free((void *)(uintptr_t)former);
  return PW_OK;
}

/* Moves the entries behind a freed slot up, so that no search ends early at it. */
static void close_gap(struct pw_containers *table, uint32_t gap)
{
  for (uint32_t at = (gap + 1) & table->mask; table->slots[at].fragment.pairs != NULL; at = (at + 1) & table->mask) {
    const uint32_t home = home_of(table, table->slots[at].cgroup_id);
    if (((at - home) & table->mask) < ((at - gap) & table->mask))
      continue;
    table->slots[gap] = table->slots[at];
    gap = at;
  }
  memset(&table->slots[gap], 0, sizeof table->slots[gap]);
}

int pw_containers_remove(struct pw_containers *table, uint64_t cgroup_id)
{
  const uint32_t at = slot_of(table, cgroup_id);
  if (table->slots[at].fragment.pairs == NULL)
    return 0;
  table->bytes -= table->slots[at].fragment.pairs_bytes;
  table->count--;
  free((void *)(uintptr_t)table->slots[at].fragment.pairs);
  close_gap(table, at);
  return 1;
}

const struct pw_fragment *pw_containers_find(const struct pw_containers *table, uint64_t cgroup_id)
{
  const struct pw_fragment *found = &table->slots[slot_of(table, cgroup_id)].fragment;
  return found->pairs != NULL ? found : NULL;
}

uint32_t pw_containers_count(const struct pw_containers *table)
{
  return table->count;
}

uint64_t pw_containers_bytes(const struct pw_containers *table)
{
  return table->bytes;
}
