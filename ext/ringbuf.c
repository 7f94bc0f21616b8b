#include "ringbuf.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* kernel/bpf/ringbuf.c: every record starts with its length, whose two highest
 * bits are flags, and an offset that is of no use to us. */
enum { HEADER_BYTES = 8 };
#define LENGTH_BUSY (UINT32_C(1) << 31)
#define LENGTH_DISCARDED (UINT32_C(1) << 30)
#define LENGTH_MASK (LENGTH_DISCARDED - 1)

int pw_ring_map(struct pw_ring *ring, int fd, uint64_t bytes)
{
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  memset(ring, 0, sizeof *ring);
  if (bytes < page || (bytes & (bytes - 1)) != 0) {
    errno = EINVAL;
    return PW_E_SYSCALL;
  }
  void *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (consumer == MAP_FAILED)
    return PW_E_SYSCALL;
  void *producer = mmap(NULL, page + 2 * bytes, PROT_READ, MAP_SHARED, fd, (off_t)page);
  if (producer == MAP_FAILED) {
    const int reason = errno;
    munmap(consumer, page);
    errno = reason;
    return PW_E_SYSCALL;
  }
  ring->consumer = consumer;
  ring->producer = producer;
  ring->data = (const uint8_t *)producer + page;
  ring->bytes = bytes;
  return PW_OK;
}

void pw_ring_unmap(struct pw_ring *ring)
{
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  if (ring->consumer != NULL)
    munmap(ring->consumer, page);
  if (ring->producer != NULL)
    munmap((void *)(uintptr_t)ring->producer, page + 2 * ring->bytes);
  memset(ring, 0, sizeof *ring);
}

uint64_t pw_ring_consumer(const struct pw_ring *ring)
{
  return __atomic_load_n(ring->consumer, __ATOMIC_RELAXED);
}

uint64_t pw_ring_producer(const struct pw_ring *ring)
{
  return __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
}

uint64_t pw_ring_fill_bytes(const struct pw_ring *ring)
{
  return pw_ring_producer(ring) - pw_ring_consumer(ring);
}

void pw_ring_release(struct pw_ring *ring, uint64_t position)
{
  __atomic_store_n(ring->consumer, position, __ATOMIC_RELEASE);
}

enum pw_slot_state pw_ring_look(const struct pw_ring *ring, uint64_t position, uint64_t producer, struct pw_slot *slot)
{
  const uint64_t filled = producer - position;
  slot->next = producer;
  if (filled == 0)
    return PW_SLOT_EMPTY;
  if (filled > ring->bytes || filled < HEADER_BYTES || position % 8 != 0)
    return PW_SLOT_CORRUPT;
  const uint8_t *header = ring->data + (position & (ring->bytes - 1));
  const uint32_t word = __atomic_load_n((const uint32_t *)(const void *)header, __ATOMIC_ACQUIRE);
  if (word & LENGTH_BUSY)
    return PW_SLOT_EMPTY;
  const uint32_t length = word & LENGTH_MASK;
  const uint64_t taken = ((uint64_t)length + HEADER_BYTES + 7) & ~UINT64_C(7);
  if (taken > filled)
    return PW_SLOT_CORRUPT;
  slot->record = header + HEADER_BYTES;
  slot->bytes = length;
  slot->next = position + taken;
  return (word & LENGTH_DISCARDED) ? PW_SLOT_DISCARDED : PW_SLOT_RECORD;
}
