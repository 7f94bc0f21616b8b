/* How the C library's allocator treats the memory of freed batches. */
#ifndef PODWITNESS_MEMORY_H
#define PODWITNESS_MEMORY_H

#include <stddef.h>

/* Blocks under `block_bytes` come from the heap and up to `kept_bytes` at its end stay
 * with the process when freed. By default glibc gives the memory of each batch back to
 * the kernel, which clears it page by page for the next: a third of the whole cost.
 * All threads share one heap: what one made another frees, and each would keep as much.
 * For the whole process; does nothing with another C library. */
void pw_memory_keep(size_t block_bytes, size_t kept_bytes);

/* Gives the pages of freed blocks back to the kernel, also those that pw_memory_keep keeps. Does nothing
 * with another C library. */
void pw_memory_give_back(void);

/* As calloc(3). A page is taken when it is written to, also where the block lies in what was freed before, which
 * calloc(3) clears there and then. For tables that most nodes fill to a part. */
void *pw_memory_table(size_t count, size_t bytes);

/* A block with a mapping of its own, whatever pw_memory_keep says: the heap would lend it what is free there, and
 * what comes behind it in the heap would hold the place. All zero. NULL: errno tells why. */
void *pw_memory_map(size_t bytes);

/* Ends what pw_memory_map made. */
void pw_memory_unmap(void *block);

/* Gives the pages of a block back that is not freed: its content is lost, it can be written to anew. */
void pw_memory_forget(void *block, size_t bytes);

#endif
