/**
 * The messages on prefork's sockets, as values. docs/protocol.md describes them for people;
 * `encode.ts` and `decode.ts` turn them into bytes and back.
 */
import type { StringList } from "../base/strings.ts";

/** Peers whose major version differs do not understand each other's bodies. */
export const protocolMajor = 3;

/** Magic, major version and type: the part of a message whose meaning never changes. */
export const prologueSize = 8;

/** "pfd" and a byte that is no text. */
export const magic = 0xf1_64_66_70;

/**
 * The fixed header, little endian: magic u32, major u16, type u16, flags u32, body size u32,
 * descriptor count u32, job id u32.
 */
export const headerSize = 24;

/** The body is not behind the header but in a sealed memfd, the message's first descriptor. */
export const flagBodyInMemfd = 1;

/** The message types by number. Requests, replies, and what passes between daemon and image. */
export const messageTypes = {
  run: 1,
  signal: 2,
  ping: 3,
  status: 4,
  stop: 5,
  accepted: 64,
  exited: 65,
  refused: 66,
  pong: 67,
  report: 68,
  stopped: 69,
  waiting: 70,
  ready: 128,
  fork: 129,
  spare: 130,
  started: 131,
  failed: 132,
  orders: 134,
  prepared: 135,
  recorded: 136,
  unfit: 137,
  notStarted: 138,
} as const;

export type MessageType = keyof typeof messageTypes;

/** Which descriptor of the message arrives under which number in the job. */
export interface DescriptorMapping {
  readonly number: number;
  readonly index: number;
}

/** What a process hands on through exec(2) besides arguments, environment and descriptors. */
export interface ProcessAttributes {
  readonly umask: number;
  /** -20 to 19. */
  readonly nice: number;
  /** The kernel's `struct rlimit` (soft u64, hard u64) of each resource, by its number. */
  readonly limits: Uint8Array;
  /** Sets of signals, 8 bytes each: bit n - 1 is signal n. */
  readonly ignoredSignals: Uint8Array;
  readonly blockedSignals: Uint8Array;
  /** -1000 to 1000. Undefined, here and below: not known, and left as it is. */
  readonly oomScoreAdj: number | undefined;
  readonly coredumpFilter: number | undefined;
  readonly personality: number | undefined;
  readonly noNewPrivs: boolean;
  /** As ioprio_get(2) gives it: the class and what it says of it. */
  readonly ioPriority: number | undefined;
  /** Nanoseconds; 0: not known. */
  readonly timerSlackNs: bigint;
  /** `struct sched_attr`, or nothing: not known. */
  readonly scheduling: Uint8Array;
  /** The CPUs it may run on, as sched_getaffinity(2) gives them; nothing: not known. */
  readonly affinity: Uint8Array;
}

/** Attributes of which a client can know nothing: a job has them as the process that becomes it. */
export const unknownAttributes = {
  oomScoreAdj: undefined,
  coredumpFilter: undefined,
  personality: undefined,
  noNewPrivs: false,
  ioPriority: undefined,
  timerSlackNs: 0n,
  scheduling: new Uint8Array(),
  affinity: new Uint8Array(),
} as const;

/** Says of a 32-bit attribute that it is not known. */
export const unknownAttribute = 0xffff_ffff;

/** What happens to a job when the client that waits for it is gone. */
export const disconnections = { hangup: 0, continue: 1, term: 2, kill: 3 } as const;
export type Disconnection = keyof typeof disconnections;

/** How the daemon treats a job. */
export interface JobPolicy {
  /** Milliseconds after which the job is asked to end; 0 is never. */
  readonly timeoutMs: number;
  /** Milliseconds after that at which it is killed; 0 is never. */
  readonly killAfterMs: number;
  /** What the job leaves in its process group is killed when its leader has ended. */
  readonly killGroup: boolean;
  readonly onDisconnect: Disconnection;
}

/** A terminal to be put in order when the client dies without a word. */
export interface TerminalGuard {
  /** The index of the terminal among the message's descriptors. */
  readonly index: number;
  /** `struct termios`: what it is to have again. */
  readonly settings: Uint8Array;
  /** Only if it has these now; empty: whatever it has. */
  readonly expected: Uint8Array;
}

/** An execution context: all a command needs, besides the descriptors themselves. */
export interface RunRequest {
  readonly type: "run";
  /** The client stays until the job has ended; else it leaves at `accepted`. */
  readonly wait: boolean;
  readonly attributes: ProcessAttributes;
  readonly policy: JobPolicy;
  /** The command is a script: a file, or the name of a tool in the nearest node_modules/.bin. */
  readonly warm: boolean;
  /** No configured command can be meant: the client has looked, and there is no configuration. */
  readonly unconfigured: boolean;
  /** The job leads a session of its own, controlled by the terminal it has as descriptor 0. */
  readonly controllingTerminal: boolean;
  readonly terminalGuard: TerminalGuard | undefined;
  /** The index of the working directory (opened with O_PATH) among the message's descriptors. */
  readonly directoryIndex: number;
  /** The directory's path, for display only. */
  readonly directoryPath: Uint8Array;
  readonly descriptors: readonly DescriptorMapping[];
  readonly argv: StringList;
  readonly env: StringList;
}

/** What a request asks for, as bits of its first field. */
export const runFlags = {
  wait: 1,
  killGroup: 2,
  controllingTerminal: 4,
  terminalGuard: 8,
  warm: 16,
  unconfigured: 32,
} as const;

/** A signal for the job. */
export interface SignalRequest {
  readonly type: "signal";
  /** 1 to 64. */
  readonly signal: number;
  /** For its whole process group, as from a terminal; else for the process the job began with. */
  readonly toGroup: boolean;
  /** It was queued with this value, and is to be passed on so. See sigqueue(3). */
  readonly value?: bigint | undefined;
}

/** Why a request was refused; the client's exit status follows from it. */
export const refusalCodes = {
  badRequest: 1,
  incompatible: 2,
  forbidden: 3,
  notFound: 4,
  notExecutable: 5,
  noDirectory: 6,
  busy: 7,
  stopping: 8,
  lost: 9,
  failed: 10,
} as const;
export type RefusalCode = keyof typeof refusalCodes;

export interface Refusal {
  readonly type: "refused";
  readonly code: RefusalCode;
  /** The errno behind it, or 0. */
  readonly errno: number;
  /** One line: what failed and why, as the daemon saw it. */
  readonly reason: string;
}

export interface Exited {
  readonly type: "exited";
  /** The kernel's wait status; see wait(2). */
  readonly waitStatus: number;
  readonly userTimeUs: number;
  readonly systemTimeUs: number;
  readonly residentKiBMax: number;
  /** The daemon had asked it to end, its time being up. */
  readonly timedOut: boolean;
}

/** The steps in which a starter starts a program; one that fails is named by its number. */
export const startStages = {
  /** No process could be made. */
  process: 0,
  session: 1,
  directory: 2,
  descriptors: 3,
  /** The controlling terminal. */
  terminal: 4,
  /** Attributes and resource limits. */
  limits: 5,
  /** The program cannot be executed; the errno says why. */
  program: 6,
  /** The program is there, and what it names to run it is not. */
  interpreter: 7,
} as const;
export type StartStage = keyof typeof startStages;

/** Starter to daemon: the job it was given has not been started. */
export interface NotStarted {
  readonly type: "notStarted";
  readonly stage: StartStage;
  readonly errno: number;
}

export type Message =
  | RunRequest
  | SignalRequest
  | { readonly type: "ping" }
  | { readonly type: "status" }
  /** `now`: do not wait for the jobs to end. */
  | { readonly type: "stop"; readonly now: boolean }
  /** The command has been started. */
  | { readonly type: "accepted"; readonly pid: number }
  | Exited
  /** The job has been stopped by this signal. */
  | { readonly type: "stopped"; readonly signal: number }
  /** The job waits for its process; so the daemon is not silent. */
  | { readonly type: "waiting" }
  /** Also spare to daemon: the job it was given cannot be started. */
  | Refusal
  /** JSON: {pid, version}. */
  | { readonly type: "pong"; readonly json: string }
  /** JSON: see StatusReport in daemon/daemon.ts. */
  | { readonly type: "report"; readonly json: string }
  /** Image to daemon: preloaded, and able to fork. */
  | { readonly type: "ready" }
  /** Daemon to image: make one spare. */
  | { readonly type: "fork" }
  /** Image to daemon: a spare waits; its socket is the message's descriptor. */
  | { readonly type: "spare"; readonly pid: number }
  /** Spare or starter to daemon: the job runs from here on, as this process. */
  | { readonly type: "started"; readonly pid: number }
  | NotStarted
  /** Daemon to script process: JSON, Orders of domain/warmth.ts. */
  | { readonly type: "orders"; readonly json: string }
  /** Script image to daemon: ready; JSON, Prepared of domain/warmth.ts. */
  | { readonly type: "prepared"; readonly json: string }
  /** Fresh script process to daemon, at its end: JSON, the modules that were loaded. */
  | { readonly type: "recorded"; readonly json: string }
  /** Spare to daemon: the job it was given must not run in it; nothing has been done. */
  | { readonly type: "unfit"; readonly reason: string }
  /** Image to daemon: it could not be done. */
  | { readonly type: "failed"; readonly errno: number; readonly reason: string };

/** A message with the job it is about; 0 where there is none yet. */
export interface Envelope {
  readonly id: number;
  readonly message: Message;
}

/** The first part of every message. */
export interface Header {
  readonly major: number;
  readonly typeNumber: number;
  readonly flags: number;
  readonly bodySize: number;
  readonly fdCount: number;
  readonly id: number;
}
