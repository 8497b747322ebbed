/*
 * The messages between the reference's client and daemon: one datagram each on a SOCK_SEQPACKET socket, with the
 * fields of prefork's protocol 3 in the machine's own byte order. Both sides are built together, so the layout is a C
 * structure and needs no version.
 */
#include <linux/types.h>

enum { MAGIC = 0x66657270, LIMITS = 16, FDS_MAX = 253, AFFINITY_BYTES = 128 };

/* A body up to this size is behind the header; a larger one is in a sealed memfd, the message's first descriptor. */
enum { INLINE_BYTES = 64 * 1024, BODY_BYTES_MAX = 8 * 1024 * 1024 };

enum type { RUN = 1, SIGNAL, PING, ACCEPTED, EXITED, REFUSED, PONG };

struct header {
  __u32 magic, type, bodySize, fdCount, inMemfd, unused; /* 24 bytes: bodies hold 64-bit numbers */
};

/* What a process hands on through execve(2), besides strings and descriptors. */
struct attributes {
  __u32 umask;
  __s32 nice;
  __u64 ignoredSignals, blockedSignals;
  struct { __u64 soft, hard; } limits[LIMITS];
  char oomScoreAdj[16], coredumpFilter[16]; /* as the files of /proc have them */
  __u32 personality, noNewPrivileges, ioPriority;
  __u64 timerSlackNs;
  __u8 scheduling[48]; /* struct sched_attr */
  __u8 affinity[AFFINITY_BYTES];
  __u32 affinitySize;
};

/* The start of a RUN body. Behind it: descriptorCount numbers, the directory's path, argv and environment. */
struct context {
  __u32 wait;
  struct attributes attributes;
  __u32 descriptorCount, pathSize, argc, argvSize, envc, envSize;
};

struct signalBody { __u32 signal, toGroup; };

struct exitedBody {
  __u32 waitStatus;
  __u64 userTimeUs, systemTimeUs, residentKiBMax;
};

struct refusedBody { __u32 errno_; };
