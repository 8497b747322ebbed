/**
 * Every bound of prefork, with its unit, its reason, and what happens at the bound.
 * Kernel facts come first; what we chose ourselves follows.
 */
import { assert } from "./assert.ts";

/** SCM_MAX_FD: descriptors in one message. More is EINVAL from sendmsg(2). See unix(7). */
export const kernelFdsMax = 253;

/** Bytes of a path in sockaddr_un, without the NUL. A longer one goes through /proc/self/fd. */
export const socketPathBytesMax = 107;

/** MAX_ARG_STRLEN, less the name: no process can have been given a longer PATH. */
export const searchPathBytesMax: number = 128 * 1024;

/** NAME_MAX: bytes of a file's name. */
export const fileNameBytesMax = 255;

/** RLIM_NLIMITS: resources with a limit. See getrlimit(2). */
export const resourceLimitCount = 16;

/** Bytes of one `struct rlimit`. */
export const resourceLimitSize = 16;

/** Bytes of the kernel's `struct termios`. */
export const termiosSize = 36;

/** The best and the worst nice value. See getpriority(2). */
export const niceMin = -20;
export const niceMax = 19;

/** The least and the greatest oom_score_adj. See proc(5). */
export const oomScoreAdjMin = -1000;
export const oomScoreAdjMax = 1000;

/** Bytes of `struct sched_attr` in its first version, which Linux 5.10 answers. See sched_setattr(2). */
export const schedAttrSize = 48;

/** The shortest turn on a processor that a process can ask for. See the slice of EEVDF in sched_setattr(2). */
export const shortTurnNs = 100_000;

/** Bytes of the largest set of CPUs that a kernel is built with: 8192 of them (CONFIG_NR_CPUS). */
export const affinitySizeMax = 1024;

/** The highest signal number, real-time ones included. */
export const signalMax = 64;

/** The first of the real-time signals, which are queued, each as often as it was sent. */
export const realTimeSignalMin = 32;

/** Bytes of a set of signals: bit n - 1 is signal n, as in the kernel and in /proc/PID/status. */
export const signalMaskSize = 8;

/** Bun raises its soft limit on open files to the hard one, but not over this. */
export const runtimeFilesMax: number = 1024 * 1024;

/**
 * A body up to this size travels in the datagram, a larger one in a sealed memfd. A datagram must
 * fit the socket's send buffer (212,992 bytes by default, of which about half is bookkeeping).
 */
export const inlineBodyBytesMax: number = 64 * 1024;

/**
 * The largest body at all. The kernel takes 2 MiB of arguments and environment under the default
 * stack limit and 6 MiB under an unlimited one; what is larger is refused before it is read.
 */
export const bodyBytesMax: number = 8 * 1024 * 1024;

/** Descriptors a job may be given: those of a message less the directory and the body. */
export const jobFdsMax: number = kernelFdsMax - 2;

/** The highest number a descriptor may have in a job; keeps the daemon's table small. */
export const jobFdNumberMax = 65_535;

/** Strings in argv and environment together; each costs a pointer of 8 bytes at start. */
export const stringsMax: number = 1024 * 1024;

/** Connections at once; at the bound the daemon stops accepting and the backlog holds the rest. */
export const connectionsMax = 4096;

/** Pending connections in the kernel (cut to net.core.somaxconn). */
export const listenBacklog = 4096;

/** Jobs at once, unless `--max-jobs` says otherwise; at the bound a job is refused. */
export const jobsMaxDefault = 1024;

/** Replies waiting for one slow client before it is dropped: a client is owed two a job. */
export const repliesMax = 16;

/**
 * A client that connects must send its request within this time, or it is closed. Two hundred that
 * start at once on two slow cores need some seconds for it.
 */
export const requestTimeoutMs = 5000;
/** The same while others cannot connect for want of descriptors or connections. */
export const crowdedTimeoutMs = 1000;

/** The longest `--timeout` and `--kill-after`; what the wire and a timer hold, some 24 days. */
export const timeoutMsMax = 0x7fff_ffff;

/** How long a client waits for the daemon's first answer before it says so and gives up. */
export const answerTimeoutMs = 10_000;

/**
 * Signals that wait for a job to start; at the bound a further real-time one is dropped, as the kernel does at its own
 * (RLIMIT_SIGPENDING). Of the others there are no more than one of a kind.
 */
export const pendingSignalsMax = 1024;

/** How often a client is told that its job still waits to be started. */
export const waitingNoticeMs = 3000;

/** How long the launching side waits for a new daemon to be ready. */
export const launchTimeoutMs = 10_000;

/** How long jobs have to end after SIGTERM at shutdown, unless `--grace` says otherwise. */
export const graceMsDefault = 5000;

/**
 * In a process for scripts the runtime's own descriptors begin here, and a job's end: what a job is
 * given under a higher number it gets in a fresh process, or not at all.
 */
export const ownDescriptorsMin = 256;

/** A trial child of an image must have come to its end within this time. */
export const trialTimeoutMs = 5000;

/** A script's image must have loaded its modules within this time. */
export const prepareTimeoutMs = 60_000;

/** Images in one daemon; at the bound the one that was used least lately is let go. */
export const scriptImagesMax = 16;

/** Scripts a daemon remembers; at the bound those without an image are forgotten. */
export const scriptsMax = 1024;

/** So many images of a script may fail in a row; then it runs cold until it changes. */
export const imageFailuresMax = 2;

/**
 * How often an image is made anew, each time without the modules that were found to have effects.
 */
export const prepareRoundsMax = 4;

/** Notices of which a daemon remembers that they were told; at the bound it begins anew. */
export const noticesMax = 1024;

/** An image of a script that nobody uses for so long is let go. */
export const imageIdleMs: number = 15 * 60_000;
/** The same when memory is short. */
export const imageIdleShortMs = 60_000;

/** The spares of an image that nobody uses for so long are let go; it forks when a job comes. */
export const spareIdleMs: number = 5 * 60_000;

/** How often it is looked whether images and spares are to be kept, as long as there are any. */
export const upkeepMs = 5000;

/**
 * Directories in which files of images are watched; the kernel grants a user 8192 or more, and other
 * programs want some. At the bound the sweep before each job has to do for the others.
 */
export const watchesMax = 4096;

/**
 * When the files of an image have not changed for so long, it is made anew. Doubles up to the bound
 * as long as no job comes.
 */
export const inputQuietMs = 200;
export const inputQuietMsMax = 60_000;

/**
 * Memory is short when less than this share is left, or less than this: what makes a small machine
 * swap is plenty on a large one.
 */
export const memoryReserveShare = 0.1;
export const memoryReserveKiBMax: number = 1024 * 1024;

/**
 * An image of built-in commands is given so much of a processor's time to become ready, as long as it gets any; then it is
 * replaced. See also `imageForkMs`.
 */
export const imageTimeoutMs = 5000;

/**
 * An image that has not delivered a fork within this time gets no jobs until it does: they run cold.
 * It is replaced when it has used so much of a processor meanwhile: then it is not the machine that is slow.
 */
export const imageForkMs = 5000;

/**
 * A starter that has been at work for so many times the average start is taken to hang in somebody's file system, within
 * these bounds: another is made for those that wait.
 */
export const starterPatienceFactor = 4;
export const starterPatienceMsMin = 30;
export const starterPatienceMsMax = 1000;

/**
 * The same for an image of built-in commands, which is at work for the time of its job: another costs a tenth of a second of a
 * processor. And so many of them there are at most: the jobs of those hang, and what comes then runs in a process of its own.
 */
export const lenderPatienceMsMin = 200;
export const lendersMax = 4;

/** The demand of so long a time says how many idle starters are kept. */
export const starterDemandMs = 1000;

/** So many starters may die one after the other before the next one has to wait, and how long: doubles up to the bound. */
export const starterDeathsFree = 3;
export const starterBackoffMs = 50;
export const starterBackoffMsMax = 5000;

/** So many starters may die with the same job before it has begun; then it is refused as lost, or runs cold. */
export const startAttemptsMax = 6;

/** How soon children are looked at again when that has failed. */
export const childrenRetryMs = 20;

/** Forked children that wait for work. One is enough to keep the fork off the caller's path. */
export const sparesDefault = 1;

/** The most spares a configured command may ask for: each costs the memory of a process. */
export const sparesMax = 16;

/** Bytes of a configuration file; a larger one is refused before it is read. */
export const configurationBytesMax: number = 64 * 1024;

/** Configuration files, and records of allowed ones, kept parsed; the oldest is read again. */
export const configurationFilesMax = 256;

/**
 * A file that changed less than this before it was read may change again without a trace in its
 * times, since the kernel's clock for them stands still for up to 10 ms: it is read again.
 */
export const fileClockMs = 100;

/** So many spares may die unused in a row; then their image is replaced, after a delay. */
export const sparesDyingMax = 3;

/** So many spares may be lost with the same job before it has begun; then it runs cold. */
export const sparesLostMax = 3;

/**
 * A spare that was taken is replaced at once while a processor is free, and otherwise when its job
 * has ended, or after a time between these, by how many want a processor.
 */
export const refillDelayMsMin = 20;
export const refillDelayMsMax = 1000;

assert(inlineBodyBytesMax <= bodyBytesMax, "an inline body is a body");
assert(imageIdleShortMs < spareIdleMs, "short memory is given back sooner");
assert(spareIdleMs < imageIdleMs, "spares go before their image");
assert(jobFdsMax > 3, "a job has its standard descriptors");
assert(waitingNoticeMs < answerTimeoutMs, "a client whose job waits is told in time");
assert(requestTimeoutMs < answerTimeoutMs, "a client outwaits the daemon's own limit");
