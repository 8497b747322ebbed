// A message of the protocol, as client, starter and image have it: docs/protocol.md.
struct header { u32 magic; u16 major, type; u32 flags, size, fds, id; };
// An ancillary message with descriptors.
struct rights { struct cmsghdr header; int fds[KERNEL_FDS_MAX + 1]; };
// An environment, or arguments: strings one behind the other, each ended by a NUL.
struct strings { const char *start; u64 size; u32 count; };

// The places of the fields among the 32-bit numbers of the message; what follows the limits has these distances from their end.
enum {
  AT_UMASK, AT_NICE, AT_IGNORED, AT_BLOCKED = 4, AT_LIMITS = 7, LIMIT_NUMBERS = RESOURCE_LIMIT_COUNT * 4, AT_OOM = AT_LIMITS + LIMIT_NUMBERS,
  AT_FILTER, AT_PERSONALITY, AT_NO_NEW_PRIVILEGES, AT_IO, AT_SLACK, AT_SCHEDULING = AT_SLACK + 2, SCHEDULING_SIZE = 48, AFFINITY_SIZE = 1024,
  ATTRIBUTES_MAX = AT_SCHEDULING + 1 + SCHEDULING_SIZE / 4 + 1 + AFFINITY_SIZE / 4,
};
static int own_attributes(u32 *f); // attributes.c
