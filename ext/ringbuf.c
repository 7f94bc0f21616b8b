#include "ringbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* kernel/bpf/ringbuf.c: every record starts with its length, whose two highest
 * bits are flags, and an offset that is of no use to us. */
enum { HEADER_BYTES = 8 };
#define LENGTH_BUSY (UINT32_C(1) << 31)
#define LENGTH_DISCARDED (UINT32_C(1) << 30)
#define LENGTH_MASK (LENGTH_DISCARDED - 1)

/* What is mapped of the data at a time. The kernel counts each page of a map as memory of who has it mapped, from
 * then on, so all of it would be twice the ring. To move on costs some 10 us, for hundreds of records. Whole pages,
 * also those of 64 KiB. */
#define WINDOW_BYTES (UINT64_C(256) << 10)
/* No record of probes/events.h is a quarter as long. With a page before it, it fits a window. */
#define LONGEST_BYTES (WINDOW_BYTES / 2)

static size_t page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static void unmap_window(struct pw_ring *ring)
{
  if (ring->window_bytes != 0)
    munmap((void *)(uintptr_t)ring->data, ring->window_bytes);
  ring->window_bytes = 0;
}

static int map_window(struct pw_ring *ring, uint64_t from)
{
  const uint64_t bytes = 2 * ring->bytes < WINDOW_BYTES ? 2 * ring->bytes : WINDOW_BYTES;
  unmap_window(ring);
  void *mapped = mmap(NULL, bytes, PROT_READ, MAP_SHARED, ring->fd, (off_t)(2 * page_bytes() + from));
  if (mapped == MAP_FAILED)
    return PW_E_SYSCALL;
  ring->data = mapped;
  ring->window_from = from;
  ring->window_bytes = bytes;
  return PW_OK;
}

/* What stands at an offset in the ring, `bytes` of it, until the next call. NULL: errno tells why. */
static const uint8_t *data_at(struct pw_ring *ring, uint64_t offset, uint64_t bytes)
{
  if (ring->fd < 0)
    return ring->data + offset;
  if (offset < ring->window_from || offset + bytes > ring->window_from + ring->window_bytes) {
    /* All of a small one is in the first, which has no other behind it. */
    const uint64_t from = 2 * ring->bytes <= WINDOW_BYTES ? 0 : offset - offset % page_bytes();
    if (map_window(ring, from) != PW_OK)
      return NULL;
  }
  return ring->data + (offset - ring->window_from);
}

static int map_all(struct pw_ring *ring)
{
  const size_t page = page_bytes();
  void *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
  if (consumer == MAP_FAILED)
    return PW_E_SYSCALL;
  ring->consumer = consumer;
  void *producer = mmap(NULL, page, PROT_READ, MAP_SHARED, ring->fd, (off_t)page);
  if (producer == MAP_FAILED)
    return PW_E_SYSCALL;
  ring->producer = producer;
  return map_window(ring, 0);
}

int pw_ring_map(struct pw_ring *ring, int fd, uint64_t bytes)
{
  *ring = (struct pw_ring){.bytes = bytes, .fd = -1};
  if (bytes < page_bytes() || (bytes & (bytes - 1)) != 0) {
    errno = EINVAL;
    return PW_E_SYSCALL;
  }
  ring->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (ring->fd < 0)
    return PW_E_SYSCALL;
  if (map_all(ring) != PW_OK) {
    const int reason = errno;
    pw_ring_unmap(ring);
    errno = reason;
    return PW_E_SYSCALL;
  }
  return PW_OK;
}

void pw_ring_unmap(struct pw_ring *ring)
{
  if (ring->consumer != NULL)
    munmap(ring->consumer, page_bytes());
  if (ring->producer != NULL)
    munmap((void *)(uintptr_t)ring->producer, page_bytes());
  unmap_window(ring);
  if (ring->fd >= 0)
    close(ring->fd);
  *ring = (struct pw_ring){.fd = -1};
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

enum pw_slot_state pw_ring_look(struct pw_ring *ring, uint64_t position, uint64_t producer, struct pw_slot *slot)
{
  const uint64_t filled = producer - position, offset = position & (ring->bytes - 1);
  slot->next = producer;
  if (filled == 0)
    return PW_SLOT_EMPTY;
  if (filled > ring->bytes || filled < HEADER_BYTES || position % 8 != 0)
    return PW_SLOT_CORRUPT;
  const uint8_t *header = data_at(ring, offset, HEADER_BYTES);
  if (header == NULL)
    return PW_SLOT_UNMAPPED;
  const uint32_t word = __atomic_load_n((const uint32_t *)(const void *)header, __ATOMIC_ACQUIRE);
  if (word & LENGTH_BUSY)
    return PW_SLOT_EMPTY;
  const uint32_t length = word & LENGTH_MASK;
  const uint64_t taken = ((uint64_t)length + HEADER_BYTES + 7) & ~UINT64_C(7);
  if (taken > filled || taken > LONGEST_BYTES)
    return PW_SLOT_CORRUPT;
  header = data_at(ring, offset, taken);
  if (header == NULL)
    return PW_SLOT_UNMAPPED;
  slot->record = header + HEADER_BYTES;
  slot->bytes = length;
  slot->next = position + taken;
  return (word & LENGTH_DISCARDED) ? PW_SLOT_DISCARDED : PW_SLOT_RECORD;
}
