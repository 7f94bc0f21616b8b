/* How the C library's allocator treats the memory of freed batches. */
#ifndef PODWITNESS_MEMORY_H
#define PODWITNESS_MEMORY_H

#include <stddef.h>

/* Blocks under `block_bytes` come from the heap and up to `kept_bytes` at its end stay
 * with the process when freed. By default glibc gives the memory of each batch back to
 * the kernel, which clears it page by page for the next: a third of the whole cost.
 * For the whole process; does nothing with another C library. */
void pw_memory_keep(size_t block_bytes, size_t kept_bytes);

#endif
